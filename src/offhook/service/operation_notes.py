"""What each operation does here, how it differs from ACS, and the tests that prove it, by the operation's name.

For docs/operations.md alone: nothing else reads it. A test sees to it that each named test exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Note:
    """`here`: what it does. `differences`: from ACS. `proved_by`: what is proved, and the test: `file::test`."""

    here: str
    differences: str = ""
    proved_by: tuple[tuple[str, str], ...] = ()


_EVERY_OPERATION: Final = "conformance/test_every_operation.py::"
_JS_RECORDING: Final = "conformance/test_js_recording.py::"
_PYTHON_CALLS: Final = "conformance/test_python_calls.py::"
_PYTHON_CONNECT: Final = "conformance/test_python_connect.py::"
_PYTHON_EVERY: Final = "conformance/test_python_every_operation.py::"
_PYTHON_ERRORS: Final = "conformance/test_python_errors.py::"
_PYTHON_HOLD: Final = "conformance/test_python_hold.py::"
_PYTHON_LIMITS: Final = "conformance/test_python_limits.py::"
_PYTHON_MOVES: Final = "conformance/test_python_moves.py::"
_PYTHON_OUTBOUND: Final = "conformance/test_python_outbound.py::"
_PYTHON_PARTICIPANTS: Final = "conformance/test_python_participants.py::"
_PYTHON_PLAY: Final = "conformance/test_python_play.py::"
_PYTHON_PROMPT_FOLDER: Final = "conformance/test_python_prompt_folder.py::"
_PYTHON_RECOGNIZE: Final = "conformance/test_python_recognize.py::"
_PYTHON_RECORDING: Final = "conformance/test_python_recording.py::"
_PYTHON_SPEECH: Final = "conformance/test_python_speech.py::"
_PYTHON_TONES: Final = "conformance/test_python_tones.py::"
_PYTHON_TRANSFER: Final = "conformance/test_python_transfer.py::"
_RECORDING_FAULTS: Final = "service/test_recordings.py::"
_RECORDING_FILES: Final = "conformance/test_recording_files.py::"
_SPOKEN_ANSWERS: Final = "conformance/test_python_spoken_answers.py::"
_STREAM_FAILURES: Final = "conformance/test_stream_failures.py::"
_TRANSCRIPTION: Final = "conformance/test_python_transcription.py::"
_UNANSWERED: Final = "conformance/test_unanswered.py::"

_Proof = tuple[str, str]
_GONE: Final[tuple[_Proof, ...]] = (
    ("404/8522 no such one", f"{_PYTHON_EVERY}test_it_never_was"),
    ("404/8522 it is over", f"{_PYTHON_EVERY}test_it_is_over"),
)
_EARLY: Final = ("400/8501 not connected yet", f"{_PYTHON_EVERY}test_the_call_still_rings")
_INVALID: Final = ("400/8523 a wrong body", f"{_EVERY_OPERATION}test_a_body_that_is_not_valid")
_OPTION: Final = ("400/8523 a wrong option", f"{_PYTHON_EVERY}test_an_option_that_is_not_valid")
_CALLBACK: Final = ("400/8523 a wrong callbackUri", f"{_PYTHON_EVERY}test_a_callback_that_is_no_url")
_TEAMS: Final = ("405/8520 somebody of Teams", f"{_PYTHON_EVERY}test_somebody_of_teams")
_TEAMS_OPTION: Final = ("405/8520 Teams in an option", f"{_PYTHON_EVERY}test_somebody_of_teams_in_an_option")
_NOT_CONFIGURED: Final = ("405/8522 no options", f"{_PYTHON_EVERY}test_it_was_not_configured_with_the_call")
_FULL: Final = ("429/8516 no room", f"{_PYTHON_LIMITS}test_a_node_with_as_many_calls_as_it_takes")
_STOPS: Final = f"{_PYTHON_LIMITS}test_a_node_that_stops_ends_what_runs"
_BODY: Final = (*_GONE, _EARLY, _INVALID, _OPTION)
_PERSON: Final = (
    *_GONE,
    _EARLY,
    _INVALID,
    ("400/8523 an empty number", f"{_PYTHON_EVERY}test_a_number_that_is_empty"),
    _TEAMS,
)
_CONTEXT: Final = (
    ("404/8522 the caller has gone", f"{_PYTHON_EVERY}test_it_is_over"),
    ("409/8519 another was quicker", f"{_PYTHON_EVERY}test_another_was_quicker"),
    ("400/8587 expired, 400/8523 no context", f"{_PYTHON_EVERY}test_a_context_that_is_too_old_or_none"),
    _INVALID,
)

NOTES: Final[dict[str, Note]] = {
    "CreateCall": Note(
        "Rings every target: a simulated phone, a registered or trunk SIP phone, else the app that watches the user."
        " The first to answer connects the call.",
        "`customCallingContext`, which ACS has where a participant is added, is taken here too.",
        (
            ("success", f"{_PYTHON_OUTBOUND}test_create_and_the_phone_answers"),
            ("CreateCallFailed 486/560486, 200/5002", f"{_PYTHON_OUTBOUND}test_create_and_the_phone_refuses"),
            ("CreateCallFailed 404/8544", f"{_PYTHON_OUTBOUND}test_create_and_nobody_is_registered"),
            ("CreateCallFailed 487/10004", f"{_UNANSWERED}test_create_and_nobody_answers"),
            ("400/8523 nobody, or twice", f"{_PYTHON_OUTBOUND}test_create_for_nobody_or_somebody_twice"),
            _CALLBACK,
            _INVALID,
            _TEAMS,
            _TEAMS_OPTION,
            _FULL,
        ),
    ),
    "AnswerCall": Note(
        "Takes the call that IncomingCall told of; the stream is dialled at once where it is asked for.",
        "A context is good for 300 s and for one answer, redirect or reject.",
        (
            ("success", f"{_PYTHON_CALLS}test_a_whole_call"),
            (
                "AnswerFailed 487/0, 408/10057, 410/301005",
                "calls/test_stories.py::test_a_story_is_told_line_by_line",
            ),
            ("409/8519, the call goes on", f"{_PYTHON_ERRORS}test_the_loser_of_a_second_answer"),
            _CALLBACK,
            *_CONTEXT,
        ),
    ),
    "RedirectCall": Note(
        "Rings a phone and bridges the caller to it, or tells the apps that watch the target.",
        "At most ten times for one call.",
        (
            ("success, to a phone", f"{_PYTHON_OUTBOUND}test_redirect_to_a_registered_phone"),
            (
                "success, to another app",
                f"{_PYTHON_OUTBOUND}test_redirect_to_a_number_that_an_app_watches_rings_the_app_again",
            ),
            (
                "the target refuses: 486/560486, 603/0 for the caller",
                f"{_PYTHON_OUTBOUND}test_redirect_to_a_phone_that_refuses",
            ),
            ("409/8519 ten times already", f"{_PYTHON_OUTBOUND}test_redirect_to_and_fro_without_end"),
            *_CONTEXT,
            _TEAMS,
        ),
    ),
    "RejectCall": Note(
        "Ends the ringing; the caller is told busy, forbidden or declined.",
        "",
        (
            ("success", f"{_PYTHON_OUTBOUND}test_a_rejected_caller_hears_why"),
            _OPTION,
            *_CONTEXT,
        ),
    ),
    "Connect": Note(
        "Lets one more app take part in a call, or makes the call of a group id: with callbacks, contexts and a stream"
        " of its own.",
        "An app that has joined is not in the roster. A group call lives while an app is in it, at most an hour without"
        " people.",
        (
            ("success", f"{_PYTHON_CONNECT}test_a_second_app_joins_with_a_stream_of_its_own"),
            ("success, a group", f"{_PYTHON_CONNECT}test_apps_meet_in_a_group_and_add_people"),
            ("ConnectFailed", f"{_PYTHON_CONNECT}test_who_joins_too_early_hears_that_the_call_never_was"),
            ("400/8501 no app has decided yet, 405/8520 rooms", f"{_PYTHON_CONNECT}test_what_cannot_be_joined"),
            ("400/8523 too many apps", f"{_PYTHON_CONNECT}test_a_call_holds_so_many_apps_and_no_more"),
            _CALLBACK,
            *_GONE,
            _INVALID,
            _FULL,
        ),
    ),
    "GetCall": Note(
        "The connection as it is now.",
        "",
        (("success", f"{_PYTHON_CALLS}test_a_whole_call"), *_GONE),
    ),
    "HangupCall": Note(
        "The app leaves. A call with one other person ends; one with more goes on without the app.",
        "",
        (
            ("success", f"{_PYTHON_CALLS}test_a_whole_call"),
            ("success, of a group", f"{_PYTHON_RECORDING}test_the_app_leaves_and_the_others_are_recorded_on"),
            *_GONE,
        ),
    ),
    "TerminateCall": Note(
        "Ends the call for everybody.",
        "",
        (
            ("success", f"{_PYTHON_CALLS}test_a_whole_call"),
            ("success, of several", f"{_PYTHON_CONNECT}test_both_apps_are_told_of_who_comes_and_one_ends_it_for_all"),
            ("success, while it rings", f"{_PYTHON_OUTBOUND}test_create_and_the_app_hangs_up_while_it_rings"),
            *_GONE,
        ),
    ),
    "TransferToParticipant": Note(
        "Rings the target; when it answers, the transferee leaves for a call with it. A trunk that knows REFER is asked"
        " to do it.",
        "The transferee goes on as before until then. `sourceCallerIdNumber` is shown to phones; without it they see"
        " the transferee.",
        (
            ("success, one person", f"{_PYTHON_TRANSFER}test_a_call_of_one_is_transferred"),
            ("success, of a group", f"{_PYTHON_TRANSFER}test_one_of_a_group_is_transferred_and_the_others_stay"),
            ("success, to an app", f"{_PYTHON_TRANSFER}test_to_a_user_whom_an_app_watches"),
            ("success, by REFER", "service/test_refer.py::test_a_trunk_that_knows_refer_transfers_by_itself"),
            (
                "CallTransferFailed 486/560486, 603/0, 404/8544",
                f"{_PYTHON_TRANSFER}test_a_transfer_that_fails_keeps_the_call",
            ),
            (
                "CallTransferFailed 400/8558, the transferee left",
                f"{_PYTHON_TRANSFER}test_the_call_goes_on_while_the_target_rings",
            ),
            (
                "409/8607, 400/8523, CallTransferFailed 400/8508",
                f"{_PYTHON_TRANSFER}test_a_transfer_under_way_is_not_begun_again",
            ),
            ("405/8520 teamsPhoneCallDetails", f"{_PYTHON_TRANSFER}test_details_for_teams_are_refused_by_name"),
            *_PERSON,
            _OPTION,
            _TEAMS_OPTION,
        ),
    ),
    "GetParticipants": Note(
        "Everybody who is in the call, in pages of 100.",
        "",
        (
            ("success", f"{_PYTHON_PARTICIPANTS}test_somebody_is_added_and_everybody_hears_everybody"),
            (
                "success, page by page",
                "service/test_participants.py::test_a_long_roster_comes_in_pages_that_the_sdk_follows",
            ),
            *_GONE,
            _EARLY,
        ),
    ),
    "GetParticipant": Note(
        "One of them, by a raw id in any spelling.",
        "",
        (
            ("success", f"{_PYTHON_ERRORS}test_a_participant_by_any_spelling_of_its_id"),
            ("404/8522 a stranger", f"{_PYTHON_CALLS}test_a_whole_call"),
            *_GONE,
            _EARLY,
        ),
    ),
    "AddParticipant": Note(
        "Rings somebody, who joins the call by answering and hears everybody.",
        "Who is in the call or rings already cannot be added again: 409/8519.",
        (
            ("success", f"{_PYTHON_PARTICIPANTS}test_somebody_is_added_and_everybody_hears_everybody"),
            (
                "AddParticipantFailed 486/560486, 603/0, 404/8544",
                f"{_PYTHON_PARTICIPANTS}test_who_is_added_does_not_come",
            ),
            ("AddParticipantFailed 487/10004", f"{_PYTHON_PARTICIPANTS}test_an_invitation_runs_out"),
            ("409/8519", f"{_PYTHON_PARTICIPANTS}test_who_only_rings_cannot_be_removed_and_nobody_is_added_twice"),
            ("400/8523 a time-out, headers", f"{_PYTHON_PARTICIPANTS}test_requests_that_are_not_valid"),
            *_PERSON,
            _OPTION,
        ),
    ),
    "RemoveParticipant": Note(
        "Takes somebody out. With nobody left the call ends.",
        "",
        (
            ("success", f"{_PYTHON_PARTICIPANTS}test_somebody_is_removed"),
            (
                "RemoveParticipantFailed 400/8558",
                f"{_PYTHON_PARTICIPANTS}test_who_only_rings_cannot_be_removed_and_nobody_is_added_twice",
            ),
            ("404/8522 a stranger", f"{_PYTHON_PARTICIPANTS}test_somebody_is_removed"),
            ("400/8523 the app itself", f"{_PYTHON_PARTICIPANTS}test_requests_that_are_not_valid"),
            *_PERSON,
            _OPTION,
        ),
    ),
    "Mute": Note(
        "Nobody hears them, and frames of an unmixed stream say `silent`; they go on hearing. All are muted, or none.",
        "Phones can be muted too, several at once.",
        (
            ("success", f"{_PYTHON_PARTICIPANTS}test_somebody_is_muted"),
            ("404/8522 a stranger", f"{_PYTHON_PARTICIPANTS}test_somebody_is_muted"),
            ("400/8523 the app itself", f"{_PYTHON_PARTICIPANTS}test_requests_that_are_not_valid"),
            *_PERSON,
        ),
    ),
    "CancelAddParticipant": Note(
        "Stops ringing somebody.",
        "",
        (
            ("success", f"{_PYTHON_PARTICIPANTS}test_an_invitation_is_called_off"),
            (
                "CancelAddParticipantFailed 404/8522",
                f"{_PYTHON_PARTICIPANTS}test_an_invitation_that_was_taken_cannot_be_called_off",
            ),
            *_BODY,
        ),
    ),
    "MoveParticipants": Note(
        "Takes people out of another call of the node into this one; their phones notice nothing.",
        "Who was muted or on hold there is neither here.",
        (
            ("success", f"{_PYTHON_MOVES}test_somebody_is_moved_here_and_hears_who_is_here"),
            (
                "MoveParticipantFailed 400/8558, 404/8522, 400/8523 the same call, 400/8501 it rings",
                f"{_PYTHON_MOVES}test_who_cannot_be_moved",
            ),
            (
                "MoveParticipantFailed 409/8519, 409/8607",
                f"{_PYTHON_MOVES}test_who_is_here_already_or_being_transferred_stays",
            ),
            *_PERSON,
            _OPTION,
        ),
    ),
    "Play": Note(
        "Plays sources in a row to all or to some, once or in a loop; people hear them, streams of apps do not.",
        "Any PCM or float WAV, not just mono of 16 kHz; also of the node's prompt folder, by `file:///name.wav` or a"
        " path in it. Text and SSML need no AI resource and have one English voice ([speech](speech.md)).",
        (
            ("success", f"{_PYTHON_PLAY}test_sources_in_sequence"),
            (
                "success, files of the node",
                f"{_PYTHON_PROMPT_FOLDER}test_a_file_by_name_is_heard_and_no_other_can_be_named",
            ),
            ("text", f"{_PYTHON_SPEECH}test_digits_and_ten_phrases_are_understood_over_g711"),
            ("SSML", f"{_PYTHON_SPEECH}test_ssml_is_spoken_with_its_pauses"),
            ("PlayFailed 400/8535, 8536, 8565, 8582", f"{_PYTHON_PLAY}test_a_source_that_cannot_be_played"),
            ("PlayFailed 500/8572", _STOPS),
            ("PlayCanceled 400/8508", f"{_PYTHON_PLAY}test_an_interrupting_play_is_heard_instead"),
            ("412/8583, 404/8522 a stranger", f"{_PYTHON_PLAY}test_a_play_to_one_of_two"),
            ("400/8500 too many", f"{_PYTHON_PLAY}test_more_than_may_wait"),
            ("400/8523 no URL", f"{_PYTHON_PLAY}test_requests_that_are_refused"),
            *_PERSON,
            _OPTION,
        ),
    ),
    "CancelAllMediaOperations": Note(
        "Cancels what the app plays and recognises, running and queued.",
        "",
        (
            ("success", f"{_PYTHON_PLAY}test_plays_queue_and_a_loop_ends_when_it_is_canceled"),
            (
                "success, recognitions",
                f"{_PYTHON_RECOGNIZE}test_plays_and_recognitions_of_a_call_of_two_queue_together",
            ),
            ("success, nothing runs", f"{_PYTHON_PLAY}test_requests_that_are_refused"),
            *_GONE,
            _EARLY,
        ),
    ),
    "Recognize": Note(
        "Plays a prompt to one participant and takes tones, speech, whichever comes first, or one of some choices.",
        "Defaults are those of the JavaScript SDK: 5 s of initial silence, 2 s between tones, 2 s after speech. There"
        " are no speech models of one's own.",
        (
            ("success", f"{_PYTHON_TONES}test_as_many_tones_as_were_asked_for"),
            ("success, after a prompt", f"{_PYTHON_RECOGNIZE}test_a_prompt_is_heard_and_then_keys_count"),
            (
                "success, in a prompt",
                f"{_PYTHON_RECOGNIZE}test_the_first_key_cuts_a_prompt_that_may_be_interrupted",
            ),
            ("success, spoken choices 200/8545", f"{_SPOKEN_ANSWERS}test_yes_or_no"),
            ("success, speech 200/8569", f"{_SPOKEN_ANSWERS}test_free_speech"),
            ("success, speech or keys", f"{_SPOKEN_ANSWERS}test_speech_or_keys_whichever_comes_first"),
            ("success, spoken over a prompt", f"{_SPOKEN_ANSWERS}test_speech_cuts_a_prompt_that_may_be_interrupted"),
            ("RecognizeFailed 400/8547", f"{_SPOKEN_ANSWERS}test_another_answer_than_the_choices"),
            (
                "RecognizeFailed 400/8565, 400/8510",
                f"{_SPOKEN_ANSWERS}test_nobody_says_anything_and_nobody_understands",
            ),
            (
                "RecognizeFailed 400/8563, 400/8565 of the service",
                f"{_SPOKEN_ANSWERS}test_a_service_that_understands_nothing_and_one_that_fails",
            ),
            ("success, choices 200/8533, 400/8534", f"{_PYTHON_RECOGNIZE}test_a_choice_by_its_key"),
            (
                "success, after a spoken prompt",
                f"{_PYTHON_RECOGNIZE}test_a_spoken_prompt_is_cut_by_a_key_and_plays_on_hold",
            ),
            ("RecognizeFailed 500/8511", f"{_PYTHON_RECOGNIZE}test_a_prompt_that_cannot_be_played"),
            ("412/8583 another is asked", f"{_PYTHON_RECOGNIZE}test_in_a_group_one_alone_is_asked_on_the_sub_leg"),
            (
                "400/8500 too many, 400/8523 choices and times, 404/8522 a stranger",
                f"{_PYTHON_RECOGNIZE}test_what_cannot_be_asked_for",
            ),
            ("RecognizeFailed 400/8510, 400/8532", f"{_PYTHON_TONES}test_the_caller_presses_nothing_or_too_little"),
            ("RecognizeFailed 400/8558", f"{_PYTHON_TONES}test_who_leaves_while_keys_are_awaited"),
            ("RecognizeCanceled 400/8508", f"{_PYTHON_TONES}test_recognitions_wait_for_each_other_or_interrupt"),
            ("RecognizeCanceled 400/8508, the node stops", _STOPS),
            *_PERSON,
            _OPTION,
        ),
    ),
    "StartContinuousDtmfRecognition": Note(
        "Tells of every key that a participant presses.",
        "",
        (
            ("success", f"{_PYTHON_TONES}test_every_key_is_told_of_until_that_is_stopped"),
            (
                "ToneFailed 400/8558",
                f"{_PYTHON_TONES}test_who_listens_hears_one_participant_until_that_one_leaves",
            ),
            ("412/8583 tones are being sent", f"{_PYTHON_TONES}test_tones_go_to_one_participant_alone"),
            *_PERSON,
        ),
    ),
    "StopContinuousDtmfRecognition": Note(
        "Tells of no further key.",
        "",
        (
            ("success", f"{_PYTHON_TONES}test_every_key_is_told_of_until_that_is_stopped"),
            (
                "404/8522 a stranger",
                f"{_PYTHON_TONES}test_who_listens_hears_one_participant_until_that_one_leaves",
            ),
            *_PERSON,
            _OPTION,
        ),
    ),
    "SendDtmfTones": Note(
        "Plays keys to one participant: RFC 4733 on SIP, tones elsewhere. At most 18.",
        "Anybody may get them, not phone numbers alone.",
        (
            ("success", f"{_PYTHON_TONES}test_tones_that_are_sent_are_heard_and_then_told_of"),
            ("SendDtmfTonesFailed 400/8558", f"{_PYTHON_TONES}test_who_leaves_before_the_last_tone"),
            ("SendDtmfTonesFailed 400/8508, the node stops", _STOPS),
            (
                "SendDtmfTonesFailed 408/9002, a phone on hold",
                "service/test_phone_tones.py::test_a_phone_that_stays_on_hold_fails_the_tones_and_gets_none_of_them_later",
            ),
            ("412/8583", f"{_PYTHON_TONES}test_tones_go_to_one_participant_alone"),
            ("400/8523 tones, 404/8522 a stranger", f"{_PYTHON_TONES}test_tones_that_cannot_be_sent"),
            *_PERSON,
            _OPTION,
        ),
    ),
    "Hold": Note(
        "Nobody hears them, and they hear the prompt again and again, or nothing; their keys still count.",
        "",
        (
            ("success, with a prompt", f"{_PYTHON_HOLD}test_on_hold_with_a_prompt_and_off_it"),
            ("success, in a group", f"{_PYTHON_HOLD}test_in_a_group_who_is_on_hold_neither_hears_nor_is_heard"),
            (
                "400/8500 on hold already, 404/8522 a stranger, HoldFailed 400/8535, 8536, 8565, 8582",
                f"{_PYTHON_HOLD}test_what_cannot_be_done_and_a_prompt_that_cannot_be_played",
            ),
            *_PERSON,
            _OPTION,
        ),
    ),
    "Unhold": Note(
        "They hear and are heard again.",
        "",
        (
            ("success", f"{_PYTHON_HOLD}test_on_hold_with_a_prompt_and_off_it"),
            (
                "400/8500 not on hold, 404/8522 a stranger",
                f"{_PYTHON_HOLD}test_what_cannot_be_done_and_a_prompt_that_cannot_be_played",
            ),
            *_PERSON,
            _OPTION,
        ),
    ),
    "StartMediaStreaming": Note(
        "Dials the app's socket in mid-call.",
        "",
        (
            ("success", f"{_PYTHON_CALLS}test_streaming_that_is_not_wanted_at_first"),
            (
                "MediaStreamingFailed 400/8581, 500/8603",
                f"{_STREAM_FAILURES}test_each_cause_is_told_and_the_call_lives_on",
            ),
            ("MediaStreamingFailed 500/8603, stopped early", f"{_STREAM_FAILURES}test_stopped_before_it_is_open"),
            ("400/8500 it runs", f"{_PYTHON_CALLS}test_a_whole_call"),
            _NOT_CONFIGURED,
            *_BODY,
        ),
    ),
    "StopMediaStreaming": Note(
        "Closes the app's socket; the call goes on.",
        "",
        (
            ("success", f"{_PYTHON_CALLS}test_streaming_that_is_not_wanted_at_first"),
            ("400/8500 it does not run", f"{_PYTHON_CALLS}test_a_whole_call"),
            _NOT_CONFIGURED,
            *_BODY,
        ),
    ),
    "StartTranscription": Note(
        "What each participant says goes as text to the app's socket, by the node's recogniser.",
        "Custom speech models are refused. Locales are those of the recogniser; the local one knows English.",
        (
            ("success", f"{_TRANSCRIPTION}test_what_a_caller_says"),
            ("start, stop and start again", f"{_TRANSCRIPTION}test_started_stopped_and_started_again"),
            ("several participants, muted ones", f"{_TRANSCRIPTION}test_each_participant_by_themselves"),
            ("TranscriptionFailed 400/8581, 400/8565", f"{_TRANSCRIPTION}test_what_cannot_be_started"),
            ("TranscriptionFailed 500/8578", f"{_TRANSCRIPTION}test_an_app_that_closes_that_breaks_and_that_is_gone"),
            ("TranscriptionFailed 500/8579", f"{_STREAM_FAILURES}test_stopped_before_it_is_open"),
            ("TranscriptionFailed 500/8580", _STOPS),
            ("400/8605 a custom model", f"{_TRANSCRIPTION}test_bad_arguments_and_models_of_the_app"),
            ("400/8523 no locale", f"{_TRANSCRIPTION}test_a_model_of_the_apps_own_with_the_call"),
            ("400/8500 it runs", f"{_TRANSCRIPTION}test_requests_that_do_not_fit_the_state"),
            _NOT_CONFIGURED,
            *_BODY,
        ),
    ),
    "StopTranscription": Note(
        "Ends it and closes the socket; the call goes on, and it can be started again.",
        "",
        (
            ("success", f"{_TRANSCRIPTION}test_started_stopped_and_started_again"),
            ("400/8500 it does not run", f"{_TRANSCRIPTION}test_requests_that_do_not_fit_the_state"),
            _NOT_CONFIGURED,
            *_BODY,
        ),
    ),
    "UpdateTranscription": Note(
        "Another language, from the utterance that is being said on.",
        "Also in calls made by Connect. Custom speech models are refused.",
        (
            ("success", f"{_TRANSCRIPTION}test_another_locale"),
            ("TranscriptionFailed 400/8565", f"{_TRANSCRIPTION}test_another_locale"),
            ("400/8523 no locale", f"{_TRANSCRIPTION}test_bad_arguments_and_models_of_the_app"),
            ("400/8605 a custom model", f"{_TRANSCRIPTION}test_bad_arguments_and_models_of_the_app"),
            ("400/8500 it does not run", f"{_TRANSCRIPTION}test_requests_that_do_not_fit_the_state"),
            _NOT_CONFIGURED,
            *_BODY,
        ),
    ),
    "StartRecording": Note(
        "Records what people hear, into one file or one channel for each ([recording](recording.md)).",
        "The file is there a second after the end. What is not said is audio, mixed, wav; ACS takes video then."
        " Unmixed files have a sixth channel with the audio of apps. Files are fetched from the node's own host.",
        (
            ("success, mixed", f"{_PYTHON_RECORDING}test_a_mixed_recording"),
            ("success, unmixed, aligned to the sample", f"{_PYTHON_RECORDING}test_three_people_and_a_barge_in_unmixed"),
            ("success, mp3", f"{_PYTHON_RECORDING}test_mp3"),
            ("success, pauseOnStart", f"{_PYTHON_RECORDING}test_a_recording_that_begins_paused_and_ends_with_the_call"),
            ("success, externalStorage", f"{_RECORDING_FILES}test_a_storage_of_the_app"),
            ("success, JS", f"{_JS_RECORDING}test_a_recording"),
            ("a killed node", f"{_RECORDING_FILES}test_a_node_that_is_killed_leaves_a_file_that_plays"),
            (
                "StartRecordingFailed 500/9999",
                f"{_PYTHON_LIMITS}test_a_node_whose_recordings_cannot_be_written",
            ),
            ("RecordingStateChanged inactive 500/9999", f"{_RECORDING_FAULTS}test_a_disk_that_fills"),
            (
                "400/8559 a second one, 404/8522 no such locator, 405/8520 video, rooms, 400/8523 channels",
                f"{_PYTHON_RECORDING}test_what_cannot_be_recorded",
            ),
            *_BODY,
            _TEAMS_OPTION,
        ),
    ),
    "GetRecordingProperties": Note(
        "Tells whether it records.",
        "One that is over is not known any more.",
        (
            ("success", f"{_PYTHON_RECORDING}test_a_mixed_recording"),
            *_GONE,
        ),
    ),
    "StopRecording": Note(
        "Ends it; RecordingFileStatusUpdated follows when its file is there.",
        "",
        (
            ("success", f"{_PYTHON_RECORDING}test_a_mixed_recording"),
            *_GONE,
        ),
    ),
    "PauseRecording": Note(
        "Records nothing until it is resumed: the file has no gap, its metadata say when.",
        "",
        (
            ("success, 400/8573 paused already", f"{_PYTHON_RECORDING}test_pause_and_resume"),
            *_GONE,
        ),
    ),
    "ResumeRecording": Note(
        "Records again.",
        "",
        (
            ("success, 400/8573 not paused", f"{_PYTHON_RECORDING}test_pause_and_resume"),
            *_GONE,
        ),
    ),
}  # fmt: skip

MEANINGLESS: Final[dict[str, str]] = {
    "callIntelligenceOptions.cognitiveServicesEndpoint": "speech is the node's own, so no Azure AI resource is asked",
    "recognizeOptions.dtmfOptions, choices, speechOptions, speechLanguage": "only those of the recognizeInputType that"
    " is asked for count",
    "text.voiceKind, text.voiceName": "there is one voice; the locale that a name begins with counts",
    "UnholdRequest.operationContext": "ParticipantsUpdated alone tells of it, which has none",
    "UnholdRequest.operationCallbackUri": "ParticipantsUpdated alone tells of it, at the callback of each app",
}
"""Fields that are read, and that can mean nothing here; why."""
