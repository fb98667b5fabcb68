"""What ROS 2 messages say, and what is done with those that say nothing sensible."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from bags import BEGAN_NS, image, jpeg, raw_audio, s16
from hypothesis import given, settings
from hypothesis import strategies as st
from media import likeness, numbered, sweep, tone

from favor_stream.clip import snapshot_jpeg
from favor_stream.errors import DeviceError
from favor_stream.records import RATE, Picture, Sound
from favor_stream.ros.messages import (
    Message,
    decode,
    definition,
    encode,
    fields,
    header,
    is_known,
    make,
    stamp_ns,
    stamp_s,
    type_hash,
    type_hashes,
)
from favor_stream.ros.picture import ENCODINGS, frame
from favor_stream.ros.sound import Ears, Shape

AUDIO = "audio_common_msgs/msg/"
WIDTH, HEIGHT = 64, 48


def wave(sound: Sound, stamp_at_ns: int = 0) -> Message:
    """Of ros-drivers' family."""
    data = make(f"{AUDIO}AudioData", data=s16(sound).tobytes())
    return make(f"{AUDIO}AudioDataStamped", header=header(stamp_at_ns), audio=data)


def spoken(channels: int = 1, rate: int = RATE, **data: Any) -> Message:
    """Of mgonzs13's family."""
    info = make(f"{AUDIO}AudioInfo", format=8, channels=channels, rate=rate, chunk=512)
    return make(f"{AUDIO}AudioStamped", audio=make(f"{AUDIO}Audio", audio_data=make(f"{AUDIO}AudioData", **data), info=info))


def complaint(call: Callable[[], object]) -> str:
    """What a call was refused with, "" where it was not; another exception is the test's failure."""
    try:
        call()
    except DeviceError as error:
        return str(error)
    return ""


# Messages.


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        ("std_msgs/msg/String", "df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"),
        ("service_msgs/msg/ServiceEventInfo", "41bcbbe07a75c9b52bc96bfd5c24d7f0fc0a08c0cb7921b3373c5732345a6f45"),
        ("example_interfaces/srv/AddTwoInts", "e118de6bf5eeb66a2491b5bda11202e7b68f198d6f67922cf30364858239c81a"),
        ("std_srvs/srv/Trigger", "eeff2cd6fa5ad9d27cdf4dec64818317839b62f212a91e6b5304b634b2062c5f"),
        ("audio_common_msgs/msg/AudioData", "a9742fba1567e649bbdba6ae034a72c7ef129b97c7a4da50fd2f3e1bfd8ffa86"),
        ("audio_common_msgs/msg/AudioInfo", "b3494d204e513d2cceefae1888e5be3da7c8c8ca31eb277f7b5b62f364bcb1fb"),
    ],
)
def test_hash_of_a_type_is_the_one_that_ros_publishes(kind: str, known: str) -> None:
    assert type_hash(kind) == f"RIHS01_{known}"


@pytest.mark.parametrize(
    "kind", ["favor_msgs/srv/Ask", "std_srvs/srv/SetBool", "lifecycle_msgs/srv/ChangeState", "lifecycle_msgs/srv/GetState"]
)
def test_every_service_has_a_hash_and_messages_of_its_own(kind: str) -> None:
    assert type_hash(kind).startswith("RIHS01_")
    for part in ("Request", "Response"):
        message = make(f"{kind}_{part}")
        assert decode(encode(message), f"{kind}_{part}") == message


def test_question_and_answer_go_over_the_wire() -> None:
    asked = make("favor_msgs/srv/Ask_Request", question="who ist däa?")
    assert decode(encode(asked), "favor_msgs/srv/Ask_Request").question == "who ist däa?"
    empty = encode(make("std_srvs/srv/Trigger_Request"))
    assert empty == b"\x00\x01\x00\x00\x00"  # rosidl gives a type without fields one byte


def test_two_packages_of_one_name_are_told_apart_by_their_bytes() -> None:
    for name in ("AudioData", "AudioDataStamped", "AudioInfo"):
        assert len(set(type_hashes(f"{AUDIO}{name}"))) == 2
    first, second = wave(sweep(0.1)), spoken(int16_data=[1, 2, 3])
    assert decode(encode(first), f"{AUDIO}AudioDataStamped").audio.data.tobytes() == first.audio.data.tobytes()
    heard = decode(encode(second), f"{AUDIO}AudioStamped")
    assert heard.audio.audio_data.int16_data.tolist() == [1, 2, 3]
    assert heard.audio.info.rate == RATE
    for info in ({"sample_rate": 48_000, "coding_format": "wave"}, {"rate": 44_100}):
        message = make(f"{AUDIO}AudioInfo", **info)
        assert decode(encode(message), f"{AUDIO}AudioInfo") == message


def test_layout_of_humble_is_read_where_it_differs() -> None:
    newer = make("sensor_msgs/msg/Range", range=2.0, variance=0.5)
    data = encode(newer)
    assert decode(data, "sensor_msgs/msg/Range").variance == 0.5
    assert decode(data[:-4], "sensor_msgs/msg/Range").range == 2.0


@pytest.mark.parametrize("at_ns", [0, 1, BEGAN_NS, -1, 999_999_999, 2**31 * 10**9 - 1])
def test_stamp_keeps_every_nanosecond(at_ns: int) -> None:
    told = decode(encode(header(at_ns, "lens")), "std_msgs/msg/Header")
    assert (stamp_ns(told) or 0, told.frame_id) == (at_ns, "lens")
    assert stamp_s(told) == at_ns / 1e9


def test_message_that_tells_no_time_or_none_yet_has_no_stamp() -> None:
    assert stamp_ns(make("std_msgs/msg/String")) is None
    assert stamp_ns(image(numbered(1), 0)) is None
    assert stamp_ns(raw_audio(sweep(0.1), 7)) == 7


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: make("std_msgs/msg/Sting"),
        lambda: make("std_msgs/msg/String", text="no such field"),
        lambda: decode(b"", "std_msgs/msg/Sting"),
        lambda: encode(make("std_msgs/msg/UInt8", data=256)),
        lambda: encode(make("std_msgs/msg/String", data=7)),
        lambda: header(2**80),
    ],
)
def test_kind_or_field_that_nobody_knows_is_one_clear_line(wrong: Any) -> None:
    with pytest.raises(DeviceError) as caught:
        encode(wrong())
    assert "\n" not in str(caught.value)
    assert not is_known("std_msgs/msg/Sting")


def test_definition_holds_all_that_the_type_is_made_of() -> None:
    told = definition("sensor_msgs/msg/CompressedImage")
    assert told.startswith("std_msgs/Header header\n")
    assert "MSG: std_msgs/Header" in told
    assert "MSG: builtin_interfaces/Time" in told


def test_every_type_says_what_it_consists_of() -> None:
    told = fields()
    assert [name for name, _ in told["favor_msgs/srv/Ask_Response"][1]] == ["success", "text"]
    assert [name for name, _ in told["audio_common_msgs/msg/AudioInfo"][1]][0] == "channels"
    assert "audio_common_msgs/msg/AudioStamped" in told


FUZZED = ["sensor_msgs/msg/Image", f"{AUDIO}AudioStamped", f"{AUDIO}AudioDataStamped", "diagnostic_msgs/msg/DiagnosticArray"]


@pytest.mark.parametrize("kind", FUZZED)
@settings(max_examples=60)
@given(damage=st.binary(max_size=60), place=st.integers(0, 300), cut=st.integers(0, 300))
def test_damaged_bytes_are_a_message_or_one_line(kind: str, damage: bytes, place: int, cut: int) -> None:
    whole = encode(image(numbered(3, 8, 8), BEGAN_NS)) if kind == FUZZED[0] else encode(make(kind))
    for data in (whole[:place] + damage + whole[place + len(damage) :], whole[:cut], damage, b"\x00\x01\x00\x00" + damage):
        assert "\n" not in complaint(lambda data=data: decode(data, kind))  # type: ignore[misc]


def test_length_out_of_all_reason_takes_no_memory() -> None:
    data = b"\x00\x01\x00\x00" + b"\xff\xff\xff\x7f" * 8
    for kind in (*FUZZED, f"{AUDIO}AudioData", "diagnostic_msgs/msg/DiagnosticStatus"):
        tracemalloc.start()
        with pytest.raises(DeviceError, match=f"bytes are no {kind}"):
            decode(data, kind)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
        tracemalloc.stop()


# Pictures.


def shown(message: Message) -> Picture:
    whole = decode(encode(message), message.__msgtype__)
    return np.asarray(VideoReformatter().reformat(frame(whole), format="rgb24").to_ndarray(), np.uint8)


def packed(encoding: str, red: int, green: int, blue: int, is_big: bool = False) -> tuple[np.ndarray[Any, Any], int]:
    """A picture of one colour as an encoding has it, and the bytes of its rows."""
    grey = round(0.299 * red + 0.587 * green + 0.114 * blue)
    pixel = {"rgb8": [red, green, blue], "bgr8": [blue, green, red], "8UC3": [blue, green, red]}.get(encoding)
    pixel = pixel or {"rgba8": [red, green, blue, 9], "bgra8": [blue, green, red, 9]}.get(encoding)
    if encoding.startswith("bayer"):
        colours = dict(zip("rgb", (red, green, blue), strict=True))
        cell = [colours[letter] for letter in encoding[6:10]]
        made = np.tile(np.array(cell, np.uint8).reshape(2, 2), (HEIGHT // 2, WIDTH // 2))
        return made, WIDTH
    if encoding == "mono16":
        value = np.full((HEIGHT, WIDTH), grey * 257, ">u2" if is_big else "<u2")
        return value, 2 * WIDTH
    pixel = pixel or ([grey] if encoding in ("mono8", "8UC1") else None)
    if pixel is None:
        luma = 16 + round(219 * grey / 255)
        pixel = [128, luma] if encoding in ("yuv422", "uyvy") else [luma, 128]
    return np.tile(np.array(pixel, np.uint8), (HEIGHT, WIDTH)), WIDTH * len(pixel)


@pytest.mark.parametrize("padding", [0, 10])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_picture_of_each_encoding_is_seen_as_it_is(encoding: str, padding: int) -> None:
    has_colour = encoding[:3] in ("rgb", "bgr", "8UC", "bay") and encoding != "8UC1"
    colour = (200, 100, 30) if has_colour else (90, 90, 90)
    data, step = packed(encoding, *colour)
    rows = np.pad(data.view(np.uint8).reshape(HEIGHT, step), ((0, 0), (0, padding)), constant_values=77)
    size = {"height": HEIGHT, "width": WIDTH, "step": step + padding}
    seen = shown(make("sensor_msgs/msg/Image", encoding=encoding, data=rows.tobytes(), **size))
    assert seen.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(seen.astype(int) - colour).max() <= 3


def test_rows_and_columns_stay_where_they_are() -> None:
    rng = np.random.default_rng(0)
    made = rng.integers(0, 256, (30, 50, 3), np.uint8)
    assert np.array_equal(shown(image(made, padding=7)), made)
    assert np.array_equal(shown(image(made[:, :, ::-1].copy(), encoding="bgr8")), made)


def test_order_of_the_bytes_of_mono16_is_respected() -> None:
    for is_big in (False, True):
        data, step = packed("mono16", 90, 90, 90, is_big)
        size = {"height": HEIGHT, "width": WIDTH, "step": step, "is_bigendian": is_big}
        seen = shown(make("sensor_msgs/msg/Image", encoding="mono16", data=data.tobytes(), **size))
        assert np.abs(seen.astype(int) - 90).max() <= 1


def test_picture_keeps_its_own_pixels_until_somebody_looks() -> None:
    formats = {encoding: frame(decode(encode(coloured(encoding)), "sensor_msgs/msg/Image")).format.name for encoding in ENCODINGS}
    assert formats["bgr8"] == "bgr24"
    assert formats["yuv422"] == "uyvy422"
    assert formats["bayer_grbg8"] == "bayer_grbg8"


def coloured(encoding: str) -> Message:
    data, step = packed(encoding, 90, 90, 90)
    return make(
        "sensor_msgs/msg/Image", height=HEIGHT, width=WIDTH, step=step, encoding=encoding, data=data.view(np.uint8).tobytes()
    )


def test_last_row_may_lack_its_padding() -> None:
    made = numbered(5, 20, 20)
    message = image(made, padding=12)
    message.data = message.data[:-12]
    assert np.array_equal(shown(message), made)


def test_compressed_pictures_are_seen() -> None:
    made = numbered(7)
    assert np.abs(shown(jpeg(made)).astype(int) - made).max() <= 3
    encoder: Any = av.CodecContext.create("png", "w")
    encoder.height, encoder.width, encoder.pix_fmt = 48, 64, "rgb24"
    encoder.time_base = Fraction(1, 1)
    picture_frame = av.VideoFrame.from_ndarray(made, "rgb24")
    data = b"".join(bytes(packet) for packet in chain(encoder.encode(picture_frame), encoder.encode(None)))
    message = make("sensor_msgs/msg/CompressedImage", format="rgb8; png compressed bgr8", data=data)
    assert np.array_equal(shown(message), made)


def wrong_image(**change: Any) -> Message:
    message = image(numbered(1, 20, 20))
    for name, value in change.items():
        setattr(message, name, value)
    return message


def wrong_jpeg(data: bytes, told: str = "jpeg") -> Message:
    return make("sensor_msgs/msg/CompressedImage", format=told, data=data)


def huge_jpeg() -> bytes:
    data = bytearray(snapshot_jpeg(numbered(1), 95))
    size = data.index(b"\xff\xc0") + 5
    data[size : size + 4] = b"\x3f\xff\x3f\xff"  # 16383 x 16383
    return bytes(data)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (wrong_image(encoding="16UC1"), "expected one of rgb8, bgr8"),
        (wrong_image(encoding="\n" * 500), "encoding is"),
        (wrong_image(step=10), "step 10"),
        (wrong_image(height=21), "has 1200 bytes; expected 21 rows of 60 bytes"),
        (wrong_image(height=19), "expected 19 rows"),
        (wrong_image(width=0), "at least one pixel"),
        (wrong_image(width=100_000, height=100_000), "at most 24,000,000"),
        (wrong_image(encoding="yuv422", width=19, step=60), "even sizes"),
        (wrong_jpeg(b""), "expected a JPEG or PNG"),
        (wrong_jpeg(b"\xff\xd8\xff" + bytes(50)), "cannot be decoded"),
        (wrong_jpeg(b"\x89PNG\r\n\x1a\n" + bytes(50), "png"), "cannot be decoded"),
        (wrong_jpeg(huge_jpeg()), "at most 24,000,000 pixels"),
        (wrong_jpeg(b"\x89PNG\r\n\x1a\n", "16UC1; compressedDepth"), "compressedDepth"),
        (make("std_msgs/msg/String"), "is no picture"),
    ],
)
def test_picture_that_cannot_be_seen_is_one_clear_line(message: Message, complaint: str) -> None:
    with pytest.raises(DeviceError, match=complaint) as caught:
        frame(message)
    assert "\n" not in str(caught.value)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.sampled_from(sorted(ENCODINGS)))
def test_sizes_that_are_made_up_never_read_past_the_data(height: int, width: int, step: int, encoding: str) -> None:
    for scale in (1, 2**26):
        message = wrong_image(height=height // scale, width=width // scale, step=step // scale, encoding=encoding)
        assert "\n" not in complaint(lambda message=message: frame(message))  # type: ignore[misc]


# Sound.


def heard(ears: Ears, *messages: Message) -> Sound:
    pieces = [ears.hear(decode(encode(message), message.__msgtype__)) for message in messages]
    out: Sound = np.concatenate([*pieces, ears.rest()])
    assert out.dtype == np.float32
    return out


def blocks(sound: Sound, size: int = 500) -> list[Sound]:
    return [sound[start : start + size] for start in range(0, len(sound), size)]


def test_sound_of_either_family_and_of_foxglove_is_heard_to_the_sample() -> None:
    sound = sweep(0.5)
    exact = (s16(sound) / 32_768).astype(np.float32)
    assert np.array_equal(heard(Ears(), *map(wave, blocks(sound))), exact)
    assert np.array_equal(heard(Ears(), *(spoken(int16_data=s16(each)) for each in blocks(sound))), exact)
    assert np.array_equal(heard(Ears(), *(raw_audio(each, 0) for each in blocks(sound))), exact)
    assert np.array_equal(heard(Ears(), *(spoken(float32_data=each) for each in blocks(sound))), sound)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_other_rates_are_heard_as_one_stream_without_seams(rate: int) -> None:
    sound = tone(1.0, rate_hz=rate)
    out = heard(Ears(), *(spoken(rate=rate, int16_data=s16(each)) for each in blocks(sound, 441)))
    assert abs(len(out) - RATE) <= 2
    assert likeness(out[200:-200], tone(1.0)[200:-200]) > 0.999
    assert np.array_equal(out, heard(Ears(), spoken(rate=rate, int16_data=s16(sound))))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("int32_data", [2**30, -(2**30)]),
        ("int16_data", [2**14, -(2**14)]),
        ("int8_data", [64, -64]),
        ("uint8_data", [192, 64]),
        ("float32_data", [0.5, -0.5]),
    ],
)
def test_every_sample_format_has_the_same_loudness(name: str, data: Any) -> None:
    assert heard(Ears(), spoken(**{name: data})).tolist() == [0.5, -0.5]


def test_several_channels_become_their_mean() -> None:
    samples = s16(np.array([0.5, 0.25, -0.5, 0.5], np.float32))
    assert heard(Ears(), spoken(channels=2, int16_data=samples)).tolist() == [0.375, 0.0]


def test_float_sound_that_is_no_number_or_too_loud_is_tamed() -> None:
    assert heard(Ears(), spoken(float32_data=[np.nan, np.inf, -7.0, 0.5])).tolist() == [0.0, 1.0, -1.0, 0.5]


def test_audio_info_tells_what_the_bytes_are() -> None:
    stereo = np.stack([sweep(0.5, 48_000)] * 2, axis=1).ravel()
    info = make(f"{AUDIO}AudioInfo", channels=2, sample_rate=48_000, sample_format="F32LE", bitrate=0, coding_format="WAVE")
    data = make(f"{AUDIO}AudioData", data=stereo.astype("<f4").tobytes())
    ears = Ears()
    assert likeness(heard(ears, info, data), sweep(0.5)) > 0.999
    assert not ears.is_assumed


def test_what_is_assumed_of_sound_without_an_audio_info_is_said() -> None:
    ears = Ears()
    assert np.array_equal(heard(ears, wave(sweep(0.1))), (s16(sweep(0.1)) / 32_768).astype(np.float32))
    assert ears.is_assumed
    other = Ears(Shape(rate_hz=8_000, channels=2))
    assert len(heard(other, wave(sweep(0.1)))) == pytest.approx(1600, abs=2)
    assert other.length_s == Fraction(1, 10)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (make(f"{AUDIO}AudioInfo", channels=1, sample_rate=16_000, sample_format="S16LE", coding_format="mp3"), "coded as 'mp3'"),
        (make(f"{AUDIO}AudioInfo", channels=1, sample_rate=16_000, sample_format="S24LE", coding_format="wave"), "'S24LE'"),
        (make(f"{AUDIO}AudioInfo", channels=0, sample_rate=16_000, sample_format="S16LE", coding_format="wave"), "0 channels"),
        (make(f"{AUDIO}AudioInfo", channels=1, rate=0), "at 0 Hz"),
        (make(f"{AUDIO}AudioData", data=b"\xff\xfb\x90\x00" + bytes(300)), "looks like MP3"),
        (make(f"{AUDIO}AudioData", data=b"odd"), "no whole samples"),
        (spoken(channels=2, int16_data=[1, 2, 3]), "do not fit 2 channels"),
        (spoken(rate=-5, int16_data=[1]), "-5 Hz"),
        (spoken(int16_data=[1], int8_data=[1]), "2 sample formats at once"),
        (make("foxglove_msgs/msg/RawAudio", format="opus"), "expected pcm-s16"),
        (make("foxglove_msgs/msg/RawAudio", format="pcm-s16", sample_rate=RATE), "0 channels"),
        (make("std_msgs/msg/String"), "is no sound"),
    ],
)
def test_sound_that_cannot_be_heard_is_one_clear_line(message: Message, complaint: str) -> None:
    with pytest.raises(DeviceError, match=complaint) as caught:
        Ears().hear(message)
    assert "\n" not in str(caught.value)


def test_both_families_at_once_on_one_topic_are_noticed() -> None:
    ears = Ears()
    ears.hear(wave(sweep(0.1)))
    with pytest.raises(DeviceError, match="from ros-drivers and from mgonzs13 at once"):
        ears.hear(spoken(int16_data=[1, 2]))
    assert len(ears.hear(wave(sweep(0.1)))) == 1600


def test_messages_need_no_wire_and_no_agent() -> None:
    program = (
        "import sys, favor_stream.ros.sound, favor_stream.ros.picture; print([n for n in sys.modules if 'favor_stream' in n])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120).stdout
    names = {name.removeprefix("favor_stream").removeprefix(".").partition(".")[0] for name in eval(told)}
    assert names <= {"", "errors", "records", "ros", "version"}
