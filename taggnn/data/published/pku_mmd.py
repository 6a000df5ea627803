"""PKU-MMD, first phase: actions in long recordings of three Kinects.

Paper: https://arxiv.org/abs/1703.07475. Files, at any depth; lists below the folder of annotations (by default the root):

    PKU_Skeleton_Renew/0002-L.txt        a recording: a line of 150 numbers for each frame
    Train_Label_PKU_final/0002-L.txt     its actions, lines ``action,start,stop,confidence``: frames from 0, actions from 1
    cross-subject.txt, cross-view.txt    names after "Training videos:" and "Validataion videos:" (so spelt)

A recording and the list of its actions have the same name; their content decides which is which. A clip is one action, the frames
from start up to stop. 51 classes. The second list is the test: there is no split for choosing, for which a part of train is held
out.
"""

from pathlib import Path

from taggnn.data.clips import Row
from taggnn.data.problems import RowError, each_row
from taggnn.data.published.listing import Listing, Lists, Published, Request, matched_classes
from taggnn.data.published.text import lines
from taggnn.data.skeleton.formats import pku_mmd

ACTIONS = (
    "bow",
    "brushing hair",
    "brushing teeth",
    "check time (from watch)",
    "cheer up",
    "clapping",
    "cross hands in front (say stop)",
    "drink water",
    "drop",
    "eat meal/snack",
    "falling",
    "giving something to other person",
    "hand waving",
    "handshaking",
    "hopping (one foot jumping)",
    "hugging other person",
    "jump up",
    "kicking other person",
    "kicking something",
    "make a phone call/answer phone",
    "pat on back of other person",
    "pickup",
    "playing with phone/tablet",
    "point finger at the other person",
    "pointing to something with finger",
    "punching/slapping other person",
    "pushing other person",
    "put on a hat/cap",
    "put something inside pocket",
    "reading",
    "rub two hands together",
    "salute",
    "sitting down",
    "standing up",
    "take off a hat/cap",
    "take off glasses",
    "take off jacket",
    "take out something from pocket",
    "taking a selfie",
    "tear up paper",
    "throw",
    "touch back (backache)",
    "touch chest (stomachache/heart pain)",
    "touch head (headache)",
    "touch neck (neckache)",
    "typing on a keyboard",
    "use a fan (with hand or paper)/feeling warm",
    "wear jacket",
    "wear on glasses",
    "wipe face",
    "writing",
)
# Version -> possible names of its list.
_LISTS = {
    "xsub": ("cross-subject.txt", "cross_subject.txt"),
    "xview": ("cross-view.txt", "cross_view.txt"),
}
_HEAD = 4096


def read(request: Request) -> Lists:
    """Reads the rows.

    Raises:
        FileNotFoundError: there is no list of the recordings, or no list of any recording's actions.
        ValueError: the list of the recordings has an unexpected format.
    """
    index = request.index
    names = matched_classes(request.classes, ACTIONS, "pku_mmd")
    file = index.require(f"pku_mmd {request.version}", *_LISTS[request.version])
    recordings = _recordings(file)
    kinds = _Kinds()
    rows: dict[str, list[Row]] = {split: [] for split in request.splits}
    unlabelled: list[str] = []
    for split, found in rows.items():
        for name in recordings[split]:
            labels = next((path for path in index.named(f"{name}.txt") if kinds.of(path) == "actions"), None)
            if labels is None:
                unlabelled.append(name)
                continue
            path = next((path for path in index.clips(name) if kinds.of(path) == "frames"), None)
            found += _actions(request, name, labels, path)
    if unlabelled and not any(rows.values()):
        raise FileNotFoundError(
            f"pku_mmd {request.version}: no list of actions such as Train_Label_PKU_final/{unlabelled[0]}.txt below "
            f"{index.annotations}; {index.describe()}"
        )
    notes = []
    if unlabelled:
        notes.append(f"recordings of {file} without a list of actions: {len(unlabelled):,} ({unlabelled[0]}, ...)")
    return Lists(names, {split: Listing(f"{file}, {split}", found) for split, found in rows.items()}, tuple(notes))


def _recordings(file: Path) -> dict[str, list[str]]:
    """Split -> names of recordings.

    Raises:
        ValueError: another format.
    """
    found: dict[str, list[str]] = {}
    names: list[str] | None = None
    for line, text in lines(file):
        head = text.lower()
        if head.endswith("videos:"):
            names = found.setdefault("train" if head.startswith("train") else "test", [])
        elif names is None:
            raise ValueError(f"{file}, line {line}: expected 'Training videos:', found {text!r:.60}")
        else:
            names += text.replace(",", " ").split()
    if set(found) != {"train", "test"}:
        raise ValueError(f"{file}: expected names after 'Training videos:' and after 'Validataion videos:'")
    return found


class _Kinds:
    """Whether files of one name hold frames or actions: as the first file seen in their folder."""

    def __init__(self) -> None:
        self.folders: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        if path.parent not in self.folders:
            with open(path, "rb") as file:
                head = file.read(_HEAD)
            kind = "frames" if pku_mmd.begins(head) else "actions" if b"," in head.split(b"\n")[0] else ""
            # An empty or damaged file does not change how the others are read.
            if not kind:
                return ""
            self.folders[path.parent] = kind
        return self.folders[path.parent]


def _actions(request: Request, name: str, labels: Path, path: Path | None) -> list[Row]:
    rows = []
    for line, text in lines(labels):
        where = f"{labels}, line {line}"
        with each_row(request.problems, labels, line, f"{name}, {text}"):
            words = [word.strip() for word in text.split(",")]
            if len(words) not in (3, 4) or not all(word.isdecimal() and word.isascii() for word in words[:3]):
                raise RowError("malformed", where, f"{text!r:.60} is not 'action,start,stop,confidence'")
            action, start, stop = map(int, words[:3])
            if not 1 <= action <= len(ACTIONS) or start >= stop:
                message = (
                    f"action {action} from frame {start} to {stop}; possible are 1 to {len(ACTIONS)}, and start < stop"
                )
                raise RowError("malformed", where, message)
            paths = () if path is None else (path,)
            rows.append(
                Row(
                    line, f"{name}, {text}", action - 1, paths, float(start), float(stop), name=f"{name} {start}-{stop}"
                )
            )
    return rows


PKU_MMD = Published(
    title="PKU-MMD, first phase",
    paper="https://arxiv.org/abs/1703.07475",
    versions=("xsub", "xview"),
    splits=("train", "test"),
    read=read,
    classes={"xsub": len(ACTIONS), "xview": len(ACTIONS)},
    endings=(".txt",),
)
