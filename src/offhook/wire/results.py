"""THE table of outcomes: what each one is over HTTP and in an event's resultInformation, and where that is known from.

Sources: protocol.md §3.7 and §5.8 (published tables), §2.10 and §5.6 (streaming), and messages recorded from the
real service ("recorded"), which win over tables (protocol.md §9 row 21). "ours" marks a choice no source settles.
"""

from __future__ import annotations

from typing import Final

from offhook.wire.fields import WireStruct


class ResultInformation(WireStruct, frozen=True, kw_only=True):
    """`resultInformation` of an event: code is HTTP-like, sub_code tells cases apart."""

    code: int
    sub_code: int
    message: str


class Result(WireStruct, frozen=True, kw_only=True):
    """One row: `http` answers a REST request, `code` and `sub_code` go into events, `details` is a stream's."""

    name: str
    http: int
    code: int
    sub_code: int
    message: str
    source: str
    details: str = ""

    @property
    def error_code(self) -> str:
        """The `code` of the REST error envelope: the sub-code as text (protocol.md §3.7)."""
        return str(self.sub_code)

    def text(self, detail: str = "") -> str:
        """The row's message, then what is known of this case."""
        return f"{self.message} {detail}".strip() if detail else self.message

    def information(self, detail: str = "") -> ResultInformation:
        return ResultInformation(code=self.code, sub_code=self.sub_code, message=self.text(detail))


_COMPLETED: Final = "Action completed successfully."
_BAD_URL: Final = "Action failed, Transport url is not valid or web socket server is not operational."
_NO_SOCKET: Final = "Action failed, not able to establish websocket connection."

# name, HTTP status, code, subCode, message, source
_REQUESTS: Final[tuple[tuple[str, int, int, int, str, str], ...]] = (
    ("success", 200, 200, 0, _COMPLETED, "recorded; §5.8"),
    ("call_not_found", 404, 404, 8522, "Call not found.", "recorded; §3.7"),
    ("participant_not_found", 404, 404, 8522, "Participant not found in this call.", "§3.7"),
    ("invitation_not_found", 404, 404, 8522, "This invitation was decided or called off already, or never was.",
     "§3.7, ours"),
    ("participant_not_present", 400, 400, 8558, "The participant is not in the call yet.", "§3.7 names"),
    ("user_not_found", 404, 404, 7603, "There is no such user.", "§3.7 names, ours"),
    ("path_not_found", 404, 404, 8522, "There is no such path.", "§3.7, ours"),
    ("method_not_allowed", 405, 405, 8520, "This path does not take that method.", "§3.7, ours"),
    ("not_supported", 405, 405, 8520, "This is not supported.", "§3.7"),
    ("invalid_argument", 400, 400, 8523, "The request is not valid.", "§3.7"),
    ("unsupported_version", 400, 400, 8523, "The api-version is missing or not known.", "§9 row 11"),
    ("repeatability_conflict", 400, 400, 8523, "Repeatability-Request-ID was used for another request.", "§3.12, ours"),
    ("call_not_established", 400, 400, 8501, "The call is not established yet, or is just over.", "§3.7"),
    ("call_terminated", 400, 400, 8528, "The call is over.", "§3.7"),
    ("media_state", 400, 400, 8500, "The state of the media does not allow this.", "§3.7"),
    ("media_busy", 412, 412, 8583, "Another media action on the same participants runs; interrupt it, or wait for its"
     " end.", "§3.9"),
    ("context_expired", 400, 400, 8587, "The incoming call rang too long; its context expired.", "§3.7 names"),
    ("conflict", 409, 409, 8519, "Another action on the same resource came first.", "§3.7, §9 row 14"),
    ("context_spent", 409, 409, 8519, "The incoming call was already answered, redirected or rejected.", "§9 row 14"),
    ("transfer_conflict", 409, 409, 8607, "Another transfer of the same participant is under way.", "§3.7 names"),
    ("streaming_not_configured", 405, 405, 8522, "mediaStreamingOptions must be given when the call is created or"
     " answered.", "§2.1"),
    ("transcription_not_configured", 405, 405, 8522, "transcriptionOptions must be given when the call is created or"
     " answered.", "§5.8"),
    ("speech_model_not_supported", 400, 400, 8605, "Action failed, custom speech models are not supported here; leave"
     " speechModelEndpointId out.", "§5.8 (codes), ours (text)"),
    ("not_built", 501, 501, 8520, "This operation is not built yet.", "§3.7 names, ours"),
    ("unauthorized", 401, 401, 7509, "The request signature does not verify.", "§3.7, §4.1"),
    ("invalid_token", 401, 401, 7501, "The bearer token cannot be accepted.", "§3.7"),
    ("token_not_allowed", 403, 403, 7504, "The bearer token is of nobody who may use this service.", "§3.7 names"),
    ("request_timeout", 408, 408, 9002, "The request did not arrive in time.", "§3.7 names, ours"),
    ("too_large", 413, 413, 8523, "The request body is too large.", "architecture.md, Bounds"),
    ("throttled", 429, 429, 8516, "Too many calls at the moment; try again later.", "§3.7 names"),
    ("internal_error", 500, 500, 9999, "The service failed.", "§3.7 names"),
    ("service_unavailable", 503, 503, 9999, "The service is stopping.", "§3.7, ours"),
)  # fmt: skip

# How a call ends or never begins: CallDisconnected, CreateCallFailed, AnswerFailed. http is 200: no request waits.
_ENDS: Final[tuple[tuple[str, int, int, str, str], ...]] = (
    ("ended_by_app", 200, 7000, "Call was ended by Azure Communication Service Call Automation API or a server bot."
     " DiagCode: 0#7000.@", "recorded"),
    ("rejected", 200, 5002, "The call was rejected. DiagCode: 0#5002.@", "recorded (codes), ours (text)"),
    ("removed", 0, 5300, "The participant was removed from the call. DiagCode: 0#5300.@", "§5.8 (codes), ours (text)"),
    ("transferred", 200, 7015, "The transfer operation completed successfully.", "§5.8"),
    ("ended_normally", 0, 0, "The call ended normally.", "§5.8"),
    ("service_stopping", 0, 7000, "The service stopped and ended the call.", "§5.8: ended by the platform"),
    ("far_end_left", 0, 5003, "The last other participant left, so the call ended.", "§5.8"),
    ("far_end_hung_up_pstn", 0, 560000, "The far end hung up. DiagCode: 0#560000.@", "§5.8"),
    ("gave_up", 487, 0, "The caller gave up before the call was answered.", "§5.8"),
    ("not_answered", 487, 10004, "The call was not answered in time.", "§5.8"),
    ("declined", 603, 0, "The call was declined.", "§5.8"),
    ("busy", 486, 560486, "The called party is busy.", "§5.8"),
    ("refused", 403, 560403, "The call was forbidden by the called side.", "§5.8: pattern of the SIP codes, ours"),
    ("unreachable", 404, 8544, "The called party cannot be reached.", "§3.7 names, ours"),
    ("set_up_timeout", 408, 10057, "The called side did not finish the set-up in time.", "§5.8"),
    ("media_lost", 410, 301005, "The media connection was lost.", "§5.8"),
    ("leg_failed", 500, 9999, "The call failed.", "§5.8 unknown"),
)  # fmt: skip

# How tones and recognitions end. http is 200: no request waits.
_TONES: Final[tuple[tuple[str, int, int, str, str], ...]] = (
    ("tones_complete", 200, 8531, "Action completed, max digits received.", "§5.8"),
    ("stop_tone", 200, 8514, "Action completed as stop tone was detected.", "§5.8"),
    ("tone_matched", 200, 8533, "Action completed, DTMF option matched.", "§5.8"),
    ("phrase_matched", 200, 8545, "Action completed, recognized phrase matches a valid option.", "§5.8"),
    ("speech_recognized", 200, 8569, "Action completed, speech was recognized.", "§3.7 names, §9 row 35"),
    ("wrong_tone", 400, 8534, "Action failed, incorrect tone detected.", "§5.8"),
    ("prompt_failed", 500, 8511, "Action failed, the prompt could not be played.", "§5.8"),
    ("speech_not_matched", 400, 8547, "Action failed, recognized phrase does not match a valid option.", "§5.8"),
    ("speech_not_recognized", 400, 8563, "Action failed, speech could not be recognized.", "§5.8"),
    ("initial_silence", 400, 8510, "Action failed, initial silence timeout reached.", "§5.8"),
    ("inter_tone_timeout", 400, 8532, "Action failed, inter-digit silence timeout reached.", "§5.8"),
    ("media_canceled", 400, 8508, "Action failed, the operation was cancelled.", "§5.8"),
    ("participant_left", 400, 8558, "Action failed, the participant has left the call.", "§3.7 names, ours"),
    ("tones_not_sent", 408, 9002, "Action failed, the tones could not be played in time; a phone on hold takes none.",
     "§3.7 names, ours"),
)  # fmt: skip

# Streams: the row's `details` is mediaStreamingStatusDetails (or that of transcription).
_STREAMS: Final[tuple[tuple[str, int, int, str, str, str], ...]] = (
    ("stream_started", 200, 0, _COMPLETED, "subscriptionStarted", "recorded"),
    ("stream_stopped", 200, 0, _COMPLETED, "subscriptionStopped", "recorded"),
    ("stream_reestablished", 200, 0, _COMPLETED, "streamConnectionReestablished", "§9 row 20"),
    ("stream_url_invalid", 400, 8581, _BAD_URL, "initialWebSocketConnectionFailed", "§2.10"),
    ("stream_url_missing", 400, 8581, _BAD_URL, "streamUrlMissing", "§5.6, ours"),
    ("stream_auth_refused", 400, 8581, _BAD_URL, "authenticationFailure", "§9 row 20"),
    ("stream_lost", 500, 8603, _NO_SOCKET, "streamConnectionInterrupted", "§9 row 20"),
    ("stream_unsuccessful", 500, 8603, _NO_SOCKET, "streamConnectionUnsuccessful", "recorded"),
    ("transcription_updated", 200, 0, _COMPLETED, "transcriptionLocaleUpdated", "§5.6"),
    ("transcription_url_invalid", 400, 8581, _BAD_URL, "streamConnectionUnsuccessful", "§5.6, §5.8"),
    ("transcription_lost", 500, 8578, "Action failed, the transcription's websocket connection was lost.",
     "streamConnectionInterrupted", "§5.8 (codes), ours (text)"),
    ("transcription_canceled", 500, 8579, "Action failed, the transcription was stopped before it began.",
     "subscriptionStopped", "§5.8 (codes), ours (text)"),
    ("transcription_shut_down", 500, 8580, "Action failed due to transcription service shutdown.", "serviceShutdown",
     "§5.8 (codes), ours (text)"),
)  # fmt: skip

# Plays: PlayCompleted is `success`.
_PLAYS: Final[tuple[tuple[str, int, int, str, str], ...]] = (
    ("play_bad_format", 400, 8535, "Action failed, file format is invalid.", "§5.8"),
    ("play_not_downloaded", 400, 8536, "Action failed, file could not be downloaded.", "§5.8"),
    ("play_source_empty", 400, 8582, "Action failed, the text or SSML of the play source is empty.", "§5.8"),
    ("play_shut_down", 500, 8572, "Action failed due to play service shutdown.", "§5.8"),
    ("play_failed", 500, 9999, "Action failed, unknown internal server error.", "§5.8"),
)  # fmt: skip

# Recordings: requests that are refused, and how one fails later.
_RECORDINGS: Final[tuple[tuple[str, int, int, int, str, str], ...]] = (
    ("recording_not_found", 404, 404, 8522, "Recording not found.", "§3.7"),
    ("recording_running", 400, 400, 8559, "The call is being recorded already; stop that recording first.", "§3.7"),
    ("recording_not_allowed", 400, 400, 8573, "The recording cannot be paused or resumed now.", "§3.7 names"),
    ("recording_failed", 500, 500, 9999, "Action failed, the recording could not be written.", "§3.7 names, ours"),
)  # fmt: skip

# Speech, in events of plays, recognitions and transcriptions.
_SPEECH: Final[tuple[tuple[str, int, int, str, str], ...]] = (
    ("speech_not_set_up", 400, 8565, "Action failed, there is no speech service.", "§5.8 (codes), ours (text)"),
    ("speech_language", 400, 8565, "Action failed, the language is not supported.", "§5.8 (codes), ours (text)"),
    ("speech_bad_ssml", 400, 8565, "Action failed, the SSML is not valid.", "§5.8 (codes), ours (text)"),
    ("speech_failed", 400, 8565, "Action failed, the speech service failed.", "§5.8 (codes), ours (text)"),
)  # fmt: skip


def _table() -> dict[str, Result]:
    rows = [
        Result(name=name, http=http, code=code, sub_code=sub, message=text, source=source)
        for name, http, code, sub, text, source in (*_REQUESTS, *_RECORDINGS)
    ]
    rows += [
        Result(name=name, http=200, code=code, sub_code=sub, message=text, source=source)
        for name, code, sub, text, source in (*_ENDS, *_PLAYS, *_SPEECH, *_TONES)
    ]
    rows += [
        Result(name=name, http=200, code=code, sub_code=sub, message=text, source=source, details=details)
        for name, code, sub, text, details, source in _STREAMS
    ]
    table = {row.name: row for row in rows}
    assert len(table) == len(rows), "a name stands twice"
    return table


RESULTS: Final[dict[str, Result]] = _table()


def result(name: str) -> Result:
    """The row `name`. KeyError for a name that is not in the table: that is a mistake in our code, not input."""
    return RESULTS[name]
