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


_BAD_INPUT: Final = "conformance/test_bad_input.py::"
_EVERY_OPERATION: Final = "conformance/test_every_operation.py::"
_FAULTS: Final = "scenarios/test_faults.py::"
_INBOUND: Final = "scenarios/test_inbound.py::"
_JS_RECORDING: Final = "conformance/test_js_recording.py::"
_JS_SDK: Final = "conformance/test_js_sdk.py::"
_PYTHON_CALLS: Final = "conformance/test_python_calls.py::"
_PYTHON_CONNECT: Final = "conformance/test_python_connect.py::"
_PYTHON_ERRORS: Final = "conformance/test_python_errors.py::"
_PYTHON_HOLD: Final = "conformance/test_python_hold.py::"
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
_SEVERAL_APPS: Final = "scenarios/test_several_apps.py::"
_SPOKEN_ANSWERS: Final = "conformance/test_python_spoken_answers.py::"
_STREAM_FAILURES: Final = "conformance/test_stream_failures.py::"
_TRANSCRIPTION: Final = "conformance/test_python_transcription.py::"
_UNANSWERED: Final = "conformance/test_unanswered.py::"

_UNKNOWN: Final = ("404/8522 no such call", f"{_EVERY_OPERATION}test_a_call_that_is_not_there")
_EARLY: Final = ("400/8501 not connected yet", f"{_EVERY_OPERATION}test_a_call_that_still_rings")
_INVALID: Final = ("400/8523 a wrong body", f"{_EVERY_OPERATION}test_a_body_that_is_not_valid")
_BODY: Final = (_UNKNOWN, _EARLY, _INVALID)
_TEAMS: Final = (
    "405/8520 somebody of Teams",
    f"{_EVERY_OPERATION}test_people_of_teams_are_refused_by_name",
)

NOTES: Final[dict[str, Note]] = {
    "CreateCall": Note(
        "Rings every target: a simulated phone, a registered or trunk SIP phone, else the app that watches the user."
        " The first to answer connects the call.",
        "`customCallingContext`, which ACS has where a participant is added, is taken here too.",
        (
            ("success", f"{_PYTHON_OUTBOUND}test_create_and_the_phone_answers"),
            ("CreateCallFailed 603/0, 486/560486", f"{_PYTHON_OUTBOUND}test_create_and_the_phone_refuses"),
            ("CreateCallFailed 404/8544", f"{_PYTHON_OUTBOUND}test_create_and_nobody_is_registered"),
            ("CreateCallFailed 487/10004", f"{_UNANSWERED}test_create_and_nobody_answers"),
            _INVALID,
            _TEAMS,
            ("429/8516 no room", f"{_FAULTS}test_a_full_node_refuses_new_calls_and_keeps_those_it_has"),
        ),
    ),
    "AnswerCall": Note(
        "Takes the call that IncomingCall told of; the stream is dialled at once where it is asked for.",
        "A context is good for 300 s and for one answer, redirect or reject.",
        (
            ("success", f"{_PYTHON_CALLS}test_a_whole_call"),
            ("409/8519 another was quicker", f"{_PYTHON_ERRORS}test_the_loser_of_a_second_answer"),
            ("400/8587 context expired", f"{_BAD_INPUT}test_an_expired_context"),
            ("400/8523 a wrong context or URL", f"{_PYTHON_ERRORS}test_a_wrong_context_and_a_wrong_url"),
        ),
    ),
    "RedirectCall": Note(
        "Rings a phone and bridges the caller to it, or tells the apps that watch the target.",
        "At most ten times for one call, then 409/8519: it rings on, to be answered or rejected.",
        (
            ("success, to a phone", f"{_PYTHON_OUTBOUND}test_redirect_to_a_registered_phone"),
            (
                "success, to another app",
                f"{_PYTHON_OUTBOUND}test_redirect_to_a_number_that_an_app_watches_rings_the_app_again",
            ),
            (
                "409/8519 spent",
                f"{_INBOUND}test_redirected_to_another_app_it_is_told_anew_and_the_old_context_is_spent",
            ),
            ("409/8519 too often", f"{_INBOUND}test_a_call_sent_round_in_circles_ends"),
            _TEAMS,
        ),
    ),
    "RejectCall": Note(
        "Ends the ringing; the caller is told busy, forbidden or declined.",
        "",
        (
            ("success", f"{_PYTHON_OUTBOUND}test_a_rejected_caller_hears_why"),
            ("409/8519 spent", f"{_PYTHON_ERRORS}test_the_loser_of_a_second_answer"),
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
            ("404/8522, 400/8501, 405/8520 rooms", f"{_PYTHON_CONNECT}test_what_cannot_be_joined"),
            ("400/8523 too many apps", f"{_SEVERAL_APPS}test_a_call_has_so_many_apps_at_most"),
            _INVALID,
        ),
    ),
    "GetCall": Note(
        "The connection as it is now.",
        "",
        (("success", f"{_PYTHON_CALLS}test_a_whole_call"), _UNKNOWN),
    ),
    "HangupCall": Note(
        "The app leaves. A call with one other person ends; one with more goes on without the app.",
        "",
        (("success", f"{_PYTHON_CALLS}test_a_whole_call"), _UNKNOWN),
    ),
    "TerminateCall": Note(
        "Ends the call for everybody.",
        "",
        (("success", f"{_JS_SDK}test_bursts_play_whole_and_stop_audio_cuts"), _UNKNOWN),
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
            ("CallTransferFailed", f"{_PYTHON_TRANSFER}test_a_transfer_that_fails_keeps_the_call"),
            ("400/8558 the transferee left", f"{_PYTHON_TRANSFER}test_the_call_goes_on_while_the_target_rings"),
            ("409/8607, 400/8523", f"{_PYTHON_TRANSFER}test_a_transfer_under_way_is_not_begun_again"),
            ("405/8520 teamsPhoneCallDetails", f"{_PYTHON_TRANSFER}test_details_for_teams_are_refused_by_name"),
            *_BODY,
            _TEAMS,
        ),
    ),
    "GetParticipants": Note(
        "Everybody who is in the call, in pages of 100.",
        "",
        (("success", f"{_PYTHON_PARTICIPANTS}test_somebody_is_added_and_everybody_hears_everybody"), _UNKNOWN),
    ),
    "GetParticipant": Note(
        "One of them, by a raw id in any spelling.",
        "",
        (
            ("success", f"{_PYTHON_ERRORS}test_a_participant_by_any_spelling_of_its_id"),
            ("404/8522", f"{_PYTHON_ERRORS}test_unknown_ids"),
        ),
    ),
    "AddParticipant": Note(
        "Rings somebody, who joins the call by answering and hears everybody.",
        "Who is in the call or rings already cannot be added again: 409/8519.",
        (
            ("success", f"{_PYTHON_PARTICIPANTS}test_somebody_is_added_and_everybody_hears_everybody"),
            ("AddParticipantFailed", f"{_PYTHON_PARTICIPANTS}test_who_is_added_does_not_come"),
            ("AddParticipantFailed 487/10004", f"{_PYTHON_PARTICIPANTS}test_an_invitation_runs_out"),
            ("409/8519", f"{_PYTHON_PARTICIPANTS}test_who_only_rings_cannot_be_removed_and_nobody_is_added_twice"),
            *_BODY,
            _TEAMS,
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
            *_BODY,
        ),
    ),
    "Mute": Note(
        "Nobody hears them, and frames of an unmixed stream say `silent`; they go on hearing. All are muted, or none.",
        "Phones can be muted too, several at once.",
        (
            ("success", f"{_PYTHON_PARTICIPANTS}test_somebody_is_muted"),
            ("404/8522 a stranger", f"{_PYTHON_PARTICIPANTS}test_somebody_is_muted"),
            *_BODY,
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
            ("MoveParticipantFailed, 404/8522, 400/8523 the same call", f"{_PYTHON_MOVES}test_who_cannot_be_moved"),
            *_BODY,
            _TEAMS,
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
            ("412/8583, 400/8500", f"{_PYTHON_PLAY}test_requests_that_are_refused"),
            ("400/8501", f"{_PYTHON_PLAY}test_before_the_call_is_up_it_is_refused"),
            _UNKNOWN,
            _INVALID,
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
            _UNKNOWN,
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
            ("RecognizeFailed 400/8565", f"{_SPOKEN_ANSWERS}test_nobody_says_anything_and_nobody_understands"),
            ("success, choices 200/8533, 400/8534", f"{_PYTHON_RECOGNIZE}test_a_choice_by_its_key"),
            (
                "success, after a spoken prompt",
                f"{_PYTHON_RECOGNIZE}test_a_spoken_prompt_is_cut_by_a_key_and_plays_on_hold",
            ),
            ("RecognizeFailed 500/8511", f"{_PYTHON_RECOGNIZE}test_a_prompt_that_cannot_be_played"),
            ("412/8583", f"{_PYTHON_RECOGNIZE}test_in_a_group_one_alone_is_asked_on_the_sub_leg"),
            ("400/8500 too many", f"{_PYTHON_RECOGNIZE}test_what_cannot_be_asked_for"),
            ("RecognizeFailed 400/8510, 400/8532", f"{_PYTHON_TONES}test_the_caller_presses_nothing_or_too_little"),
            ("RecognizeFailed 400/8558", f"{_PYTHON_TONES}test_who_leaves_while_keys_are_awaited"),
            ("RecognizeCanceled 400/8508", f"{_PYTHON_TONES}test_recognitions_wait_for_each_other_or_interrupt"),
            *_BODY,
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
            *_BODY,
        ),
    ),
    "StopContinuousDtmfRecognition": Note(
        "Tells of no further key.",
        "",
        (("success", f"{_PYTHON_TONES}test_every_key_is_told_of_until_that_is_stopped"), *_BODY),
    ),
    "SendDtmfTones": Note(
        "Plays keys to one participant: RFC 4733 on SIP, tones elsewhere. At most 18.",
        "Anybody may get them, not phone numbers alone.",
        (
            ("success", f"{_PYTHON_TONES}test_tones_that_are_sent_are_heard_and_then_told_of"),
            ("SendDtmfTonesFailed 400/8558", f"{_PYTHON_TONES}test_who_leaves_before_the_last_tone"),
            ("400/8523, 404/8522", f"{_PYTHON_TONES}test_tones_that_cannot_be_sent"),
            *_BODY,
        ),
    ),
    "Hold": Note(
        "Nobody hears them, and they hear the prompt again and again, or nothing; their keys still count.",
        "",
        (
            ("success, with a prompt", f"{_PYTHON_HOLD}test_on_hold_with_a_prompt_and_off_it"),
            ("success, in a group", f"{_PYTHON_HOLD}test_in_a_group_who_is_on_hold_neither_hears_nor_is_heard"),
            (
                "400/8500 on hold already, HoldFailed 400/8536",
                f"{_PYTHON_HOLD}test_what_cannot_be_done_and_a_prompt_that_cannot_be_played",
            ),
            *_BODY,
        ),
    ),
    "Unhold": Note(
        "They hear and are heard again.",
        "",
        (
            ("success", f"{_PYTHON_HOLD}test_on_hold_with_a_prompt_and_off_it"),
            (
                "400/8500 not on hold",
                f"{_PYTHON_HOLD}test_what_cannot_be_done_and_a_prompt_that_cannot_be_played",
            ),
            *_BODY,
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
            ("400/8500 it runs", f"{_JS_SDK}test_the_app_looks_at_the_call_and_restarts_its_stream"),
            ("405/8522 no options", f"{_EVERY_OPERATION}test_a_stream_that_was_not_configured"),
            _UNKNOWN,
            _EARLY,
        ),
    ),
    "StopMediaStreaming": Note(
        "Closes the app's socket; the call goes on.",
        "",
        (
            ("success", f"{_PYTHON_CALLS}test_streaming_that_is_not_wanted_at_first"),
            ("405/8522 no options", f"{_EVERY_OPERATION}test_a_stream_that_was_not_configured"),
            _UNKNOWN,
            _EARLY,
        ),
    ),
    "StartTranscription": Note(
        "What each participant says goes as text to the app's socket, by the node's recogniser.",
        "custom speech models are refused; locales are those of the recogniser (the local one knows English)",
        (
            ("success", f"{_TRANSCRIPTION}test_what_a_caller_says"),
            ("start, stop and start again", f"{_TRANSCRIPTION}test_started_stopped_and_started_again"),
            ("several participants, muted ones", f"{_TRANSCRIPTION}test_each_participant_by_themselves"),
            ("TranscriptionFailed 400/8581, 400/8565", f"{_TRANSCRIPTION}test_what_cannot_be_started"),
            ("TranscriptionFailed 500/8578", f"{_TRANSCRIPTION}test_an_app_that_closes_that_breaks_and_that_is_gone"),
            ("TranscriptionFailed 500/8579, 500/8580", "calls/test_transcribing.py::test_a_story_is_told_line_by_line"),
            ("400/8605 a custom model", f"{_TRANSCRIPTION}test_bad_arguments_and_models_of_the_app"),
            ("400/8523 no locale", f"{_TRANSCRIPTION}test_a_model_of_the_apps_own_with_the_call"),
            ("400/8500 it runs", f"{_TRANSCRIPTION}test_requests_that_do_not_fit_the_state"),
            ("405/8522 no options", f"{_TRANSCRIPTION}test_a_transcription_that_was_not_configured"),
            ("404/8522, 400/8501", f"{_TRANSCRIPTION}test_before_the_call_is_up_and_after_its_end"),
        ),
    ),
    "StopTranscription": Note(
        "Ends it and closes the socket; the call goes on, and it can be started again.",
        "",
        (
            ("success", f"{_TRANSCRIPTION}test_started_stopped_and_started_again"),
            ("400/8500 it does not run", f"{_TRANSCRIPTION}test_requests_that_do_not_fit_the_state"),
            ("405/8522 no options", f"{_TRANSCRIPTION}test_a_transcription_that_was_not_configured"),
            ("404/8522, 400/8501", f"{_TRANSCRIPTION}test_before_the_call_is_up_and_after_its_end"),
        ),
    ),
    "UpdateTranscription": Note(
        "Another language, from the utterance that is being said on.",
        "also in calls made by Connect",
        (
            ("success", f"{_TRANSCRIPTION}test_another_locale"),
            ("TranscriptionFailed 400/8565", f"{_TRANSCRIPTION}test_another_locale"),
            ("400/8523 no locale", f"{_TRANSCRIPTION}test_bad_arguments_and_models_of_the_app"),
            ("400/8605 a custom model", f"{_TRANSCRIPTION}test_bad_arguments_and_models_of_the_app"),
            ("400/8500 it does not run", f"{_TRANSCRIPTION}test_requests_that_do_not_fit_the_state"),
            ("405/8522 no options", f"{_TRANSCRIPTION}test_a_transcription_that_was_not_configured"),
            ("404/8522, 400/8501", f"{_TRANSCRIPTION}test_before_the_call_is_up_and_after_its_end"),
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
            ("StartRecordingFailed 500/9999", f"{_RECORDING_FAULTS}test_a_folder_that_is_gone"),
            ("400/8501 not connected yet", f"{_PYTHON_RECORDING}test_a_call_that_still_rings_is_not_recorded"),
            (
                "400/8559 a second one, 404/8522 no such call, 405/8520 video, rooms",
                f"{_PYTHON_RECORDING}test_what_cannot_be_recorded",
            ),
            _INVALID,
        ),
    ),
    "GetRecordingProperties": Note(
        "Tells whether it records.",
        "One that is over is not known any more.",
        (
            ("success, 404/8522 over", f"{_PYTHON_RECORDING}test_a_mixed_recording"),
            ("404/8522 no such recording", f"{_PYTHON_RECORDING}test_what_cannot_be_recorded"),
        ),
    ),
    "StopRecording": Note(
        "Ends it; RecordingFileStatusUpdated follows when its file is there.",
        "",
        (
            ("success", f"{_PYTHON_RECORDING}test_a_mixed_recording"),
            ("404/8522 no such recording, or over", f"{_PYTHON_RECORDING}test_what_cannot_be_recorded"),
        ),
    ),
    "PauseRecording": Note(
        "Records nothing until it is resumed: the file has no gap, its metadata say when.",
        "",
        (
            ("success, 400/8573 paused already", f"{_PYTHON_RECORDING}test_pause_and_resume"),
            ("404/8522 no such recording", f"{_PYTHON_RECORDING}test_what_cannot_be_recorded"),
        ),
    ),
    "ResumeRecording": Note(
        "Records again.",
        "",
        (
            ("success, 400/8573 not paused", f"{_PYTHON_RECORDING}test_pause_and_resume"),
            ("404/8522 no such recording", f"{_PYTHON_RECORDING}test_what_cannot_be_recorded"),
        ),
    ),
}  # fmt: skip

MEANINGLESS: Final[dict[str, str]] = {
    "callIntelligenceOptions.cognitiveServicesEndpoint": "speech is the node's own, so no Azure AI resource is asked",
    "text.voiceKind, text.voiceName": "there is one voice; the locale that a name begins with counts",
    "UnholdRequest.operationContext": "ParticipantsUpdated alone tells of it, which has none",
    "UnholdRequest.operationCallbackUri": "ParticipantsUpdated alone tells of it, at the callback of each app",
}
"""Fields that are read, and that can mean nothing here; why."""
