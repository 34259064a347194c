"""What is said in tests of speech, and how what was understood is compared with it."""

from __future__ import annotations

import re

PHRASES = (
    "Zero one two three four five six seven eight nine.",
    "Thank you for calling. How can I help you today?",
    "Please enter your account number followed by the pound key.",
    "Your appointment is on Monday at three o'clock.",
    "To speak with an agent, press zero at any time.",
    "The office is closed on Sundays and holidays.",
    "Your balance is forty two dollars.",
    "Please hold while I transfer your call.",
    "Would you like to confirm the order or cancel it?",
    "I did not understand. Please say that again.",
    "Your package will arrive tomorrow morning.",
)
"""The digits, and ten sentences of telephone calls."""

_DIGITS = "zero one two three four five six seven eight nine".split()


def plain(text: str) -> str:
    """Words alone, digits spelt: one way to write what was said."""
    text = text.lower().replace("$42", "forty two dollars").replace("3 o'clock", "three o'clock")
    text = re.sub(r"\d", lambda found: f" {_DIGITS[int(found[0])]} ", text)
    return " ".join(re.sub(r"[^a-z' ]", " ", text.replace("-", " ")).split())
