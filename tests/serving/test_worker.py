"""The process behind a server: what it answers, and what is left of it after the worst file."""

import os
import signal

import pytest

from taggnn.serving.worker import Job, TooSlow, Worker, WorkerLost

JOB = """
import os, signal, time

def build(refuse=None, end=False):
    if end:
        os._exit(3)
    if refuse:
        raise ValueError(refuse)

    def answer(request):
        match request["do"]:
            case "end": os._exit(7)
            case "kill": os.kill(os.getpid(), signal.SIGKILL)
            case "sleep": time.sleep(60)
            case "raise": raise KeyError("x")
            case "memory": raise MemoryError
        return {"got": request, "pid": os.getpid()}

    return answer, {"classes": ["a"]}
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    (tmp_path / "job_of_a_test.py").write_text(JOB)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda **options: Job("job_of_a_test.build", options)


def test_a_process_answers_survives_faults_and_is_started_again(job, capfd):
    worker = Worker(job(), seconds=20)
    try:
        assert worker.start() == {"classes": ["a"]}
        first = worker.ask({"do": "echo", "text": "ä\udc80"})
        assert first == {"got": {"do": "echo", "text": "ä\udc80"}, "pid": worker.pid}
        # Ctrl-C at a terminal, and a signal to the whole group: not from its parent.
        os.kill(worker.pid, signal.SIGINT)
        assert worker.ask({"do": "raise"}) == {"failed": "KeyError"}
        assert "error" in worker.ask({"do": "memory"})
        assert worker.ask({"do": "echo"})["pid"] == first["pid"]
        with pytest.raises(WorkerLost, match="exit code 7"):
            worker.ask({"do": "end"})
        assert worker.pid is None
        with pytest.raises(WorkerLost):
            worker.ask({"do": "echo"})
        worker.start()
        with pytest.raises(WorkerLost, match="SIGKILL"):
            worker.ask({"do": "kill"})
        worker.start()
        worker.seconds = 0.1
        with pytest.raises(TooSlow):
            worker.ask({"do": "sleep"})
        assert worker.pid is None
    finally:
        worker.stop()


def test_a_job_that_cannot_be_built_is_a_users_mistake(job):
    worker = Worker(job(refuse="checkpoint x: no such file"))
    with pytest.raises(ValueError, match="checkpoint x: no such file"):
        worker.start()
    assert worker.pid is None
    worker = Worker(job(end=True))
    with pytest.raises(WorkerLost, match="exit code 3"):
        worker.start()
