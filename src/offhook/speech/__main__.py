"""`python -m offhook.speech`: the speech process with the local voice and recogniser; `speech.process` starts it."""

from __future__ import annotations

from offhook.speech.hibari import HibariVoice
from offhook.speech.whisper import WhisperRecogniser
from offhook.speech.worker import serve

if __name__ == "__main__":
    serve(HibariVoice, WhisperRecogniser)
