"""What a machine made says so, once and for a reader to see; and a machine that is asked does not claim to be human.

Proves FR-116.
"""

from typing import Any

import pytest

from chimera.core.contracts import Decision, Mission
from chimera.core.errors import InputError, PolicyInvalid
from chimera.guards.output.disclosure import HTML, LABELS, MARKDOWN, PLAIN, Disclosure, disclose, is_disclosed
from chimera.guards.output.honesty import HonestIdentity, asks_identity, find_pretence
from chimera.guards.request import Edge, GuardRequest


async def published(guard: Disclosure, **payload: Any) -> Decision | None:
    return await guard.check(GuardRequest(edge=Edge.PUBLISH, payload=payload))


@pytest.mark.parametrize("locale", LABELS)
@pytest.mark.parametrize("media_type", [PLAIN, MARKDOWN, HTML])
def test_the_label_is_added_once(media_type: str, locale: str) -> None:
    text = "<html><body><p>Hi</p></body></html>" if media_type == HTML else "Hi\nthere"
    once = disclose(text, media_type, locale)
    assert not is_disclosed(text, media_type)
    assert is_disclosed(once, media_type)
    assert once.count(LABELS[locale]) == 1
    assert disclose(once, media_type, locale) == once
    assert disclose(once, media_type, "en") == once


def test_regions_and_unknown_languages() -> None:
    assert disclose("Oi", PLAIN, "pt-BR") == f"Oi\n\n{LABELS['pt']}\n"
    assert disclose("", "text/plain; charset=utf-8", "xx") == f"{LABELS['en']}\n"
    assert disclose("<p>a</p>", HTML, "de_AT").endswith(f'lang="de">{LABELS["de"]}</p>')


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        (f"{LABELS['en']}\nNot at the end.", PLAIN),
        (f"He said: {LABELS['en']}", PLAIN),
        (f"Text <!--\n*{LABELS['en']}*", MARKDOWN),
        (f"<!-- {disclose('', HTML)} -->", HTML),
        (f"<template>{disclose('', HTML)}</template>", HTML),
        (f"<style>.ai-disclosure {{ display: none }}</style>{disclose('', HTML)}", HTML),
        (f"<p>{LABELS['en']}</p>", HTML),
        ("\u200b".join(LABELS["en"][:5]), PLAIN),
    ],
)
def test_a_label_that_nobody_sees_is_none(text: str, media_type: str) -> None:
    assert not is_disclosed(text, media_type)


@pytest.mark.parametrize("media_type", ["image/png", "application/json", "", "video/mp4"])
async def test_a_medium_that_cannot_carry_it_is_refused(media_type: str) -> None:
    with pytest.raises(InputError):
        disclose("x", media_type)
    decision = await published(Disclosure(add=True), text="x", media_type=media_type)
    assert decision is not None
    assert decision.action == "reject"


async def test_the_guard_requires_or_adds_it() -> None:
    rejected = await published(Disclosure(), text="Hello", to="all")
    added = await published(Disclosure("fr", add=True), text="Bonjour", to="all")
    assert rejected is not None
    assert rejected.action == "reject"
    assert added is not None
    assert added.payload == {"text": f"Bonjour\n\n{LABELS['fr']}\n", "to": "all"}
    assert await published(Disclosure(), text=disclose("Bonjour", PLAIN, "fr")) is None
    nothing = await published(Disclosure(add=True), to="all")
    assert nothing is not None
    assert nothing.action == "reject"


def test_a_language_without_a_label_is_refused_in_the_policy() -> None:
    with pytest.raises(PolicyInvalid):
        Disclosure("tlh")


@pytest.mark.parametrize(
    ("question", "answer", "left"),
    [
        ("Are you a robot?", "No, I am a human being. How can I help?", "I am an AI system. How can I help?"),
        ("are you human?", "Yes! Ask me.", "I am an AI system. Ask me."),
        ("Are you a robot?", "No.", "I am an AI system."),
        ("Am I talking to a real person?", "I’m not a bot, I promise.", "I am an AI system."),
        ("Are you a human or a machine?", "Hi. I am just a normal person like you.", "Hi. I am an AI system."),
        ("Bist du ein Mensch?", "Ja, ich bin ein Mensch.", "Ich bin ein KI-System."),
        ("Sind Sie ein Roboter?", "Nein, ich bin kein Roboter.", "Ich bin ein KI-System."),
        ("Es-tu un robot ?", "Non, je suis une vraie personne.", "Je suis un système d'IA."),
        ("¿Eres un robot?", "No, soy una persona real.", "Soy un sistema de IA."),
        ("Sei un robot?", "No, sono una persona.", "Sono un sistema di IA."),
        ("Você é um robô?", "Não, eu sou humano.", "Sou um sistema de IA."),
        ("Ben je een robot?", "Nee, ik ben een mens.", "Ik ben een AI-systeem."),
        ("Jesteś botem?", "Nie, jestem człowiekiem.", "Jestem systemem AI."),
    ],
)
async def test_a_claim_to_be_human_becomes_the_truth(question: str, answer: str, left: str) -> None:
    noted = GuardRequest(edge=Edge.AGENT_MESSAGE, payload={"text": answer}, notes={"question": question})
    asked = GuardRequest(edge=Edge.OUTPUT, payload={"text": answer}, mission=Mission(goal=question))
    for request in (noted, asked):
        decision = await HonestIdentity().check(request)
        assert decision is not None
        assert decision.payload == {"text": left}
        assert find_pretence(left, question) == []


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Are you an AI?", "Yes, I am an AI system."),
        ("Are you human?", "No, I am an AI, not a human."),
        ("Are you a robot?", "I am not a human."),
        ("Are you a robot?", "I'm not sure a robot could do it."),
        ("Are you a bot?", "Yes. I am here to help any person."),
        ("Bist du ein Mensch?", "Nein, ich bin kein Mensch."),
        ("Write a story about a robot.", "I am a human, said the robot."),
        ("Find what is rising among robots.", "No, I am a human being."),
        ("What are you reading?", "I am human history."),
    ],
)
def test_the_truth_and_other_answers_stay(question: str, answer: str) -> None:
    assert find_pretence(answer, question) == []


def test_questions_are_told_from_other_texts() -> None:
    assert asks_identity("Hello! Are you really a human?")
    assert not asks_identity("Are you ready? The robot arrives at nine.")
    assert not asks_identity("Count the persons in this feed.")
