from __future__ import annotations

from platform_cli.loop import said_by_step


def test_the_steps_own_words_are_picked_out_of_a_tasks_log() -> None:
    log = [
        "Running command: x",
        "Output:",
        "  a file is bad",
        '{"rows": 1}',
        "Command exited with return code 1",
        "later",
    ]
    assert said_by_step(log) == ["  a file is bad"]


def test_a_log_without_a_step_is_shown_whole() -> None:
    assert said_by_step(["one", "two"]) == ["one", "two"]
    assert said_by_step([]) == []


def test_a_step_that_was_cut_short_is_shown_to_its_end() -> None:
    assert said_by_step(["Output:", "working"]) == ["working"]
