"""Tiny made trees of the published skeleton data sets, and bodies that move."""

import json
import pickle

import numpy as np


def body(frames, joints=25, seed=0, axes=3, at=0.0):
    """One person (T, V, C): joints upright around (at, 0, 3), taller than wide, that sway over time."""
    draws = np.random.default_rng(seed)
    rest = np.stack(
        [draws.uniform(-0.2, 0.2, joints), np.linspace(-0.9, 0.9, joints), 3 + draws.uniform(0, 0.1, joints)], -1
    )
    sway = 0.4 * np.sin(np.linspace(0, 3, frames) + seed)[:, None] * draws.uniform(0.5, 1, joints)
    moved = np.repeat(rest[None], frames, 0)
    moved[..., 1] += sway
    moved[..., 0] += at
    return moved[..., :axes].astype(np.float32)


def nw_ucla(root, split_file=True, subjects=2, actions=(1, 2, 3, 4, 5, 6, 8, 9, 11, 12)):
    """NW-UCLA: a sequence for each action, subject and camera; the first has one frame."""
    entries = {"train": [], "val": []}
    for number, (action, subject, camera) in enumerate(
        (action, subject, camera) for action in actions for subject in range(1, subjects + 1) for camera in (1, 2, 3)
    ):
        name, label = f"a{action:02d}_s{subject:02d}_e00_v{camera:02d}", actions.index(action) + 1
        joints = body(1 if number == 0 else 6 + number % 3, 20, number)
        content = {"file_name": name, "skeletons": joints.round(6).tolist(), "label": label}
        write(root / "all_sqe" / f"{name}.json", json.dumps(content))
        entries["val" if camera == 3 else "train"].append({"file_name": name, "length": len(joints), "label": label})
    if split_file:
        write(root / "split.json", json.dumps(entries))
    return root


def ntu_text(frames, joints=25, newline="\n", seed=0, space=" "):
    """A ``.skeleton`` text.

    Args:
        frames: for each frame its bodies as (id, coordinates (V, 3)).
    """
    draws = np.random.default_rng(seed)
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for name, coordinates in bodies:
            lines += [f"{name} 0 1 1 1 1 0 0.02764709 0.05745083 2", str(joints)]
            rest = draws.uniform(100, 1000, (len(coordinates), 4))
            turn = draws.normal(size=(len(coordinates), 4))
            rows = zip(coordinates.tolist(), rest.tolist(), turn.tolist(), strict=True)
            lines += [
                space.join([*(f"{value:.7G}" for value in (*xyz, *picture, *turned)), str(1 + number % 2)])
                for number, (xyz, picture, turned) in enumerate(rows)
            ]
    return newline.join([*lines, ""])


def ntu_clip(frames=20, people=(0,), first=72057594037931101, **options):
    """A text in which people (by seed) stand next to each other, all frames long."""
    moved = [body(frames, seed=seed, at=1.2 * number) for number, seed in enumerate(people)]
    return ntu_text([[(first + i, each[t]) for i, each in enumerate(moved)] for t in range(frames)], **options)


def ntu_names(setups=(1, 2), cameras=(1, 2, 3), performers=(1, 3), actions=(1, 50, 60)):
    """Names of clips of NTU RGB+D, such as S001C002P003R002A013."""
    return [
        f"S{setup:03d}C{camera:03d}P{performer:03d}R001A{action:03d}"
        for setup in setups
        for camera in cameras
        for performer in performers
        for action in actions
    ]


def ntu(root, names=None, frames=14, missing=(), list_name="NTU_RGBD_samples_with_missing_skeletons.txt"):
    """NTU RGB+D as published: a text for each name, two bodies from action 50 on; those in ``missing`` have none."""
    for number, name in enumerate(names or ntu_names()):
        people = (number,) if int(name[-3:]) < 50 else (number, number + 1)
        text = ntu_text([[] for _ in range(frames)]) if name in missing else ntu_clip(frames, people, newline="\r\n")
        write(root / "nturgb+d_skeletons" / f"{name}.skeleton", text)
    if missing:
        write(root / list_name, "\n".join(["Samples with missing skeletons:", "", *missing]) + "\n")
    return root


def ntu_pickle(path, splits, names=None, axes=3, joints=25):
    """NTU RGB+D as pyskl's pickle; ``splits`` maps a name of a split to whether a clip is in it."""
    names = names or ntu_names()
    rows = [
        annotation(name, int(name[-3:]) - 1, 1 + (int(name[-3:]) >= 50), 14, joints, axes, number)
        for number, name in enumerate(names)
    ]
    return pyskl(path, {split: [name for name in names if inside(name)] for split, inside in splits.items()}, rows)


def pku(root, recordings=("0002-L", "0002-M", "0003-L", "0004-R"), list_name="cross-subject.txt", frames=40):
    """PKU-MMD: recordings of three actions each; the last two are the test."""
    for number, name in enumerate(recordings):
        people = [body(frames, seed=number), body(frames, seed=number + 1, at=1.0)][: 1 + number % 2]
        write(root / "PKU_Skeleton_Renew" / f"{name}.txt", pku_text(people))
        rows = [f"{1 + 3 * k},{2 + 12 * k},{10 + 12 * k},{1 + k % 2}" for k in range(3)]
        write(root / "Train_Label_PKU_final" / f"{name}.txt", "\n".join(rows) + "\n")
    train, test = ", ".join(recordings[:-2]), ", ".join(recordings[-2:])
    write(root / list_name, f"Training videos: \n{train}, \n\nValidataion videos: \n{test}, \n")
    return root


def gym99_skeleton(root, clips=((0, 3), (1, 3), (98, 2))):
    """Gym99 as pyskl's pickle; ``clips`` are (label, clips of it), of which the last is val."""
    rows = [
        annotation(f"A0xAXXysHUo_E_0021{label:02d}_0022{k:02d}_A_0035_0036", label, 1, 8, 17, 2, 10 * label + k)
        for label, count in clips
        for k in range(count)
    ]
    last = {row["label"]: row["frame_dir"] for row in rows}
    val = set(last.values())
    names = [row["frame_dir"] for row in rows]
    pyskl(
        root / "gym_hrnet.pkl",
        {"train": [n for n in names if n not in val], "val": [n for n in names if n in val]},
        rows,
    )
    return root


def diving48_skeleton(root, labels=(0, 1, 47)):
    """Diving48 as pyskl's pickle, three clips of each label, of which the last is test."""
    rows = [
        annotation(f"-mmq0PT-u8k_{label:03d}{k:02d}", label, 1, 8, 17, 2, 10 * label + k)
        for label in labels
        for k in range(3)
    ]
    names = [row["frame_dir"] for row in rows]
    test = names[2::3]
    pyskl(root / "diving48_hrnet.pkl", {"train": [n for n in names if n not in test], "test": test}, rows)
    return root


def pku_text(persons, newline="\n", form="{:.6f}"):
    """A recording of PKU-MMD from one or two persons (T, 25, 3); an absent second one is zeros."""
    both = [*persons, np.zeros_like(persons[0])][:2]
    rows = np.stack(both, 1).reshape(len(persons[0]), 150)
    return newline.join(" ".join(form.format(value) for value in row) for row in rows.tolist()) + newline


def annotation(name, label, persons=1, frames=6, joints=25, axes=3, seed=0, dtype=np.float16):
    """One clip of pyskl's pickles; of 2-D skeletons in pixels, with scores."""
    keypoint = np.stack([body(frames, joints, seed + person, axes, 1.2 * person) for person in range(persons)])
    row = {"frame_dir": name, "label": label, "total_frames": frames}
    if axes == 2:
        scores = np.random.default_rng(seed).uniform(size=(persons, frames, joints))
        return {
            **row,
            "img_shape": (1080, 1920),
            "original_shape": (1080, 1920),
            "keypoint": (540 + 200 * keypoint).astype(dtype),
            "keypoint_score": scores.astype(dtype),
        }
    return {**row, "keypoint": keypoint.astype(dtype)}


def pyskl(path, split, annotations, protocol=4):
    """A pickle in pyskl's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps({"split": split, "annotations": annotations}, protocol))
    return path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
