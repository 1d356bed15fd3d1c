"""How the lines that workers write become part of a story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._facts import HeldToken

if TYPE_CHECKING:
    from ._crew import Crew, Worker
    from ._report import Report
    from ._story import Story


class CrewReport:
    """Writes into a story what its workers report.

    Args:
        story: The story.
        crew: The workers.
        report: Writes the rest of the story.
    """

    def __init__(self, story: Story, crew: Crew, report: Report) -> None:
        self._story = story
        self._crew = crew
        self._report = report

    def hear(self, worker: Worker, message: dict[str, Any]) -> None:
        """Take note of a line that a worker wrote.

        Args:
            worker: The worker that wrote it. Lines of a worker that was killed no longer count.
            message: The line.
        """
        if worker.is_down:
            return
        match message:
            case {"told": "answer", "problem": problem}:
                self._report.answered(problem, f"{worker.name}: ")
            case {"told": "token"}:
                self._hold(worker, message["expires_on"], message["renew_on"], shared=message["shared"])
            case {"told": "failure", "error": error}:
                self._report.note("token_request_failed", f"{worker.name} has no new token: {error}")

    def _hold(self, worker: Worker, expires_on: int, renew_on: float, *, shared: bool) -> None:
        story, crew, report = self._story, self._crew, self._report
        token = HeldToken(story.now(), report.offset(renew_on), report.offset(expires_on))
        number = crew.number_of(expires_on)
        if number > len(story.tokens):
            story.tokens.append(token)
        crew.hold(worker, token, number, shared=shared)
        life = round(token.expires_at - token.at, 3)
        kind, how = ("token_shared", "took") if shared else ("token_fetched", "fetched")
        where = " from the store" if shared else ""
        text = f"{worker.name} {how} token {number}{where}, good for {life:.1f} s"
        report.note(kind, text, worker=worker.number, number=number, life=life)
        self._welcome(worker)

    def _welcome(self, worker: Worker) -> None:
        """Take note that the killed worker is back, once it has its first token."""
        death = self._crew.death
        if death is not None and worker is death.worker and death.ended is None:
            death.ended = self._story.now()
            away = death.ended - death.began
            text = f"{worker.name} is back, {away:.1f} s after it was killed"
            self._report.note("worker_returned", text, worker=worker.number, away=round(away, 3))

    def kill(self, worker: Worker) -> None:
        """Take note that the worker that fetched the last token was killed."""
        text = f"{worker.name}, which fetched token {worker.token_number}, was killed (kill -9)"
        self._crew.kill(worker, self._story.now())
        self._report.note("worker_killed", text, worker=worker.number)

    def start_again(self, worker: Worker) -> None:
        """Take note that another process takes the place of the one that was killed."""
        worker.is_down = False
        self._report.note("worker_started", f"{worker.name} is started again", worker=worker.number)
