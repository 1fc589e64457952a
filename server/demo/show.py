"""The whole demo from the first line to the last. Not the acts themselves."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager

from mcp import MCPError

from control_plane.errors import PaybillError
from control_plane.provisioning.binary import find as find_terraform
from policies.binary import find_binary
from policies.errors import GateError
from server.demo import acts, audit, crash, growth, life, money
from server.demo.agents import connected
from server.demo.desk import LOADER
from server.demo.ledger import Ledger
from server.demo.narrator import Narrator
from server.demo.place import Place, throw_away
from server.demo.scenario import BILLING_BOT, SUPPORT_BOT
from server.demo.stage import Stage
from server.settings import Settings, process_environment

_INTRO = (
    "A real control plane in a folder that is thrown away: a worker with a policy engine and "
    "Terraform, two MCP servers over stdio, two agents that talk to them, and a human, alice. "
    "What you see is what they really answer. Nothing outside that folder is changed."
)
_PARTS = (
    "A workspace",
    "Onboarding: what policy allows, and what a human must approve",
    "Records: a help desk, without the rows and fields that the agent may not read",
    "A tenant's whole life",
    "Money: an upgrade with its proration, a declined payment, and its recovery",
    "Growth: a backup that is proved, and a move while everybody goes on working",
    "Eight things that must not work",
    "A worker is killed in the middle",
    "The audit log",
    "What there is now",
)
_ENROL = ("approvers", "enrol", "--principal", "alice")


async def perform(settings: Settings, voice: Narrator, *, keep: bool) -> Ledger:
    """Perform the demo; each process that it started has ended when this returns or raises."""
    task = asyncio.current_task()
    assert task is not None, "performed within a task"
    interrupts = _Interrupts(task)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupts.ask)
    ledger, start_s = Ledger(), time.monotonic()
    try:
        voice.say(_INTRO)
        voice.lines(f"{number}. {title}" for number, title in enumerate(_PARTS, start=1))
        voice.part(1, _PARTS[0])
        with throw_away(_with_parts(settings, voice), keep=keep) as place:
            await _play(place, voice, ledger, interrupts)
            _closing(place, voice, ledger, time.monotonic() - start_s, keep=keep)
    except* (PaybillError, GateError, MCPError) as group:
        # What nothing can follow on is told as one more thing that did not hold.
        ledger.missed.extend(_messages(group))
    return ledger


class _Interrupts:
    """A wish to stop that outlives a library which swallows one cancellation."""

    def __init__(self, task: asyncio.Task[object]) -> None:
        self._task = task
        self._asked = False

    def ask(self) -> None:
        """Stop now, or at the next part."""
        self._asked = True
        self._task.cancel()

    def check(self) -> None:
        """Raise when it was asked to stop."""
        if self._asked:
            raise asyncio.CancelledError


async def _play(place: Place, voice: Narrator, ledger: Ledger, interrupts: _Interrupts) -> None:
    async with _set_up(place, voice, ledger) as stage:
        interrupts.check()
        voice.part(2, _PARTS[1])
        acme_run = await acts.onboard(stage)
        interrupts.check()
        voice.part(3, _PARTS[2])
        globex_record = await acts.records(stage)
        voice.say("A third tenant, initech, is asked for, and waits for alice while we go on.")
        waiting = await acts.parked(stage, "initech")
        interrupts.check()
        voice.part(4, _PARTS[3])
        await life.live(stage)
        interrupts.check()
        voice.part(5, _PARTS[4])
        await money.pay(stage)
        interrupts.check()
        voice.part(6, _PARTS[5])
        await growth.grow(stage)
        interrupts.check()
        voice.part(7, _PARTS[6])
        await acts.try_forbidden(
            stage, globex_record=globex_record, alices_run=acme_run, waiting=waiting
        )
        interrupts.check()
        voice.part(8, _PARTS[7])
        await crash.kill_and_resume(stage, waiting)
    interrupts.check()
    voice.part(9, _PARTS[8])
    await audit.verify(stage)
    await audit.replay(stage)


def _with_parts(settings: Settings, voice: Narrator) -> Settings:
    with voice.waiting("looking for the policy engine and Terraform …") as tell:
        engine = find_binary(
            setting=settings.cerbos_bin,
            environment=process_environment(),
            cache_dir=settings.cache,
            on_progress=tell,
        )
        terraform = find_terraform(settings.terraform_bin, settings.path)
    voice.lines(
        [
            f"policy engine: Cerbos {engine.version} ({engine.source})",
            f"infrastructure: Terraform {terraform.version} ({terraform.source})",
        ]
    )
    return settings.model_copy(update={"cerbos_bin": engine.path})


@asynccontextmanager
async def _set_up(place: Place, voice: Narrator, ledger: Ledger) -> AsyncGenerator[Stage]:
    voice.say(f"Workspace in {place.workspace.root}; approvals by own hand.")
    place.issue(
        SUPPORT_BOT, "alice", SUPPORT_BOT, "operator,support", "acme,globex,hooli,initech,wonka"
    )
    place.issue(BILLING_BOT, "bob", BILLING_BOT, "viewer", "umbrella,stark")
    place.issue(LOADER, "erin", LOADER, "platform_admin", "acme")
    place.issue("alice", "alice", None, "viewer", "acme,globex,hooli,initech,wonka")
    voice.table(
        ("who", "acts through", "roles", "tenants"),
        (
            ("alice", SUPPORT_BOT, "operator, support", "acme, globex, hooli, initech, wonka"),
            ("bob", BILLING_BOT, "viewer", "umbrella, stark"),
            ("erin", LOADER, "platform_admin", "acme"),
            ("alice", "(herself: approves)", "viewer", "acme, globex, hooli, initech, wonka"),
        ),
    )
    secret = {
        "--passphrase-fd": place.approver_secret,
        "--signer-passphrase-fd": place.root_secret,
    }
    with voice.waiting("the worker starts, and two agents connect …"):
        async with asyncio.TaskGroup() as group:
            enrolling = group.create_task(place.command(*_ENROL, secret=secret))
            state = await place.worker.start("--checkpoint-file", str(place.checkpoint))
        async with AsyncExitStack() as stack:
            agents = {
                name: await stack.enter_async_context(connected(place, name))
                for name in (SUPPORT_BOT, BILLING_BOT)
            }
            kept = stack.pop_all()
    async with kept:
        stage = Stage(place, agents, voice, ledger)
        voice.lines([f"worker {state.pid}, policy bundle {state.bundle}"])
        about = "alice is an approver: her key is signed by the root key"
        stage.check(about, {"exit": 0}, enrolling.result())
        yield stage


def _closing(place: Place, voice: Narrator, ledger: Ledger, took_s: float, *, keep: bool) -> None:
    voice.part(10, _PARTS[9])
    if not ledger.missed:
        voice.say(
            "Five tenants (acme pooled; hooli and wonka bridge; globex and initech silo), sixteen runs."
        )
    if keep:
        voice.say("The workspace is kept. To go on in it:")
        voice.lines(
            [
                f"export PAYBILL_HOME={place.settings.home}",
                f"cd {place.workspace.root}",
                "paybill doctor",
                f"paybill approvals list --token-file {place.token_file('alice')}",
                f"paybill serve --token-file {place.token_file(SUPPORT_BOT)}   # for an MCP client",
            ],
            style="",
        )
    else:
        voice.say("It is removed now; with --keep it stays. For a workspace of your own:")
        voice.lines(
            [
                "paybill init",
                "paybill token issue --principal YOU --actor AGENT --roles operator --tenants ACME",
                "paybill serve --token-file FILE   # the command for an MCP client",
            ],
            style="",
        )
    voice.say(f"{ledger.held} expectations held, {len(ledger.missed)} did not; {took_s:.0f} s.")


def _messages(group: BaseExceptionGroup[Exception]) -> Generator[str]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _messages(error)
        else:
            yield str(error)
