"""Answers questions about a shop by simple rules, with the local voice and recogniser: no keys, no network."""

import re
from collections.abc import AsyncIterator
from datetime import datetime

from offhook.kit import Call, Conversation, VoiceApp, converse, local_speech

ANSWERS = {
    r"open|hours|close": "We are open from nine to five.",
    r"where|address|street": "You find us at twelve Harbor Street. It is right behind the station.",
    r"cost|price|much": "A repair costs thirty dollars.",
    r"thank": "You are welcome. What else can I do for you?",
}
AGENT = "+15550100009"

app = VoiceApp()
app.on_start(local_speech)  # loads the models, so that the first caller does not wait for them


async def reply(text: str, talk: Conversation) -> AsyncIterator[str]:
    """`text` is what the caller has said; what this yields is spoken as it comes."""
    said = text.lower()
    if re.search(r"good ?bye|bye", said):
        talk.end()
        yield "Goodbye, and thank you for calling."
    elif re.search(r"transfer|somebody|human|person", said):
        yield "One moment, I put you through."
        await talk.heard()
        await talk.call.transfer(AGENT)
    elif re.search(r"time|clock", said):
        yield f"It is {datetime.now():%H:%M}."
    elif re.search(r"count", said):
        for number in range(1, 11):
            yield f"{number}. "
    elif "repeat" in said or "again" in said:
        yield next((one.text for one in reversed(talk.messages) if one.role == "assistant"), "I said nothing yet.")
    else:
        found = [answer for words, answer in ANSWERS.items() if re.search(words, said)]
        yield " ".join(found) or "I know our opening hours, our address and our prices. What would you like to know?"


@app.on_call
async def agent(call: Call) -> None:
    await converse(call, reply, greeting="Harbor Repairs, hello.", still_there="Are you there?")


if __name__ == "__main__":
    app.run()
