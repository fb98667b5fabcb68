"""The data sets that can be asked: what each is called, where it comes from, how it is read and what it is measured by."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from favor_stream.aveb.sets import audiocaps, avsd, flickr30k, gqa, how2, librispeech, nextqa, spokencoco, textvqa, vggss
from favor_stream.aveb.sets.aloud import Reader, aloud
from favor_stream.aveb.sets.files import Files
from favor_stream.aveb.sets.item import Item
from favor_stream.aveb.sets.scores import (
    ACCURACY,
    CONTAINED,
    EXACT,
    OPTION,
    SOFT_ACCURACY,
    WER,
    WORD_F1,
    YES_OR_NO,
    Measure,
)
from favor_stream.errors import ConfigError

JUDGED = "ChatGPT is not asked here"
COUNTED = "no kept package computes it without Java and large downloads"


@dataclass(frozen=True, slots=True)
class DataSet:
    title: str
    task: str  # of AVEB
    page: str  # where it is to be had
    parts: str  # of what is to be had there
    read: Reader
    published: str  # metric
    measures: tuple[Measure, ...]
    why: str = ""  # the published metric is not among them
    is_from_youtube: bool = False  # where some films are gone: what is left of the set is asked

    @property
    def advice(self) -> str:
        return f"get {self.title} ({self.parts}) from {self.page} and unpack it there"

    @property
    def note(self) -> str:
        """What is to be known of the scores; empty when they are the published metric."""
        return f"It is published with {self.published}, but {self.why}." if self.why else ""


TEXTVQA = DataSet(
    "TextVQA",
    "OCR",
    "https://textvqa.org/dataset/",
    "TextVQA_0.5.1_val.json and train_val_images.zip",
    textvqa.read,
    "soft accuracy",
    (SOFT_ACCURACY,),
)
GQA = DataSet(
    "GQA",
    "VQA",
    "https://cs.stanford.edu/people/dorarad/gqa/download.html",
    "testdev_balanced_questions.json of questions1.2.zip, and images.zip",
    gqa.read,
    "accuracy",
    (ACCURACY,),
)
VGGSS = DataSet(
    "VGG-SS",
    "AVSSD",
    "https://github.com/hche11/Localizing-Visual-Sounds-the-Hard-Way",
    "vggss.json, and of https://www.robots.ox.ac.uk/~vgg/data/vggsound/ its clips as YOUTUBEID_SECONDS.mp4, six digits",
    vggss.read,
    "accuracy as judged by ChatGPT",
    (EXACT, CONTAINED),
    JUDGED,
    is_from_youtube=True,
)
SETS = {
    "librispeech": DataSet(
        "LibriSpeech test-clean",
        "ASR",
        "https://www.openslr.org/12",
        "test-clean.tar.gz",
        librispeech.read,
        "WER",
        (WER,),
    ),
    "audiocaps": DataSet(
        "AudioCaps",
        "AAC",
        "https://audiocaps.github.io",
        "dataset/test.csv, and the 10 s of sound of each clip in a file such as YOUTUBEID_START.wav",
        audiocaps.read,
        "SPIDEr",
        (WORD_F1,),
        COUNTED,
        is_from_youtube=True,
    ),
    "flickr30k": DataSet(
        "Flickr30k",
        "IC",
        "https://shannon.cs.illinois.edu/DenotationGraph/ and https://cs.stanford.edu/people/karpathy/deepimagesent/",
        "flickr30k-images.tar.gz, and dataset_flickr30k.json of caption_datasets.zip",
        flickr30k.read,
        "CIDEr",
        (WORD_F1,),
        COUNTED,
    ),
    "textvqa": TEXTVQA,
    "gqa": GQA,
    "nextqa": DataSet(
        "NExT-QA",
        "Video QA",
        "https://github.com/doc-doc/NExT-QA",
        "test.csv and map_vid_vidorID.json of nextqa.zip, and the films of https://xdshang.github.io/docs/vidor.html",
        nextqa.read,
        "accuracy",
        (OPTION,),
    ),
    "how2": DataSet(
        "How2",
        "AVSR",
        "https://github.com/srvk/how2-dataset",
        "data/dev5 of how2-300h-v1, and the films of its videos as VIDEOID.mp4",
        how2.read,
        "WER",
        (WER,),
        is_from_youtube=True,
    ),
    "avsd": DataSet(
        "AVSD",
        "AVSD",
        "https://github.com/hudaAlamri/DSTC7-Audio-Visual-Scene-Aware-Dialog-AVSD-Challenge",
        "test_set4DSTC7-AVSD.json, and Charades_vu17_test_480.tar of https://prior.allenai.org/projects/charades",
        avsd.read,
        "accuracy as judged by ChatGPT",
        (CONTAINED, WORD_F1),
        JUDGED,
    ),
    "vggss": VGGSS,
    "avm-vggss": DataSet(
        VGGSS.title, "AVM", VGGSS.page, VGGSS.parts, vggss.matching, "accuracy", (YES_OR_NO,), is_from_youtube=True
    ),
    "spokencoco": DataSet(
        "SpokenCOCO",
        "AVM",
        "https://groups.csail.mit.edu/sls/downloads/placesaudio/",
        "SpokenCOCO.tar.gz, and val2014.zip of https://cocodataset.org/#download",
        spokencoco.read,
        "accuracy",
        (YES_OR_NO,),
    ),
    "isqa-textvqa": DataSet(
        TEXTVQA.title, "ISQA", TEXTVQA.page, TEXTVQA.parts, aloud(textvqa.read), "soft accuracy", (SOFT_ACCURACY,)
    ),
    "isqa-gqa": DataSet(GQA.title, "ISQA", GQA.page, GQA.parts, aloud(gqa.read), "accuracy", (ACCURACY,)),
}


def items(name: str, folder: Path) -> tuple[list[Item], list[Path]]:
    """The items of a set, and the list files that name them.

    Raises ConfigError for an unknown set, a folder that does not hold it, a broken list, and files that a list names and that
    are not there; of a set from YouTube these are told and left out.
    """
    if name not in SETS:
        raise ConfigError(f"no data set is called {name!r}; write one of: {', '.join(SETS)}")
    known = SETS[name]
    files = Files(folder, known.advice)
    named = list(known.read(files))
    whole = [item for item in named if files.missing.keys().isdisjoint(item.media.paths)]
    if files.missing:
        _complain(files, known, f"the other {len(whole)} of {len(named)} items are asked" if whole else "")
    elif not named:
        raise ConfigError(f"{files.folder}: its lists name nothing to ask about; {known.advice}")
    return whole, files.lists


def _complain(files: Files, known: DataSet, left: str) -> None:
    """Tells what is missing, and goes on only where it may be gone for ever and something is `left`."""
    lists = files.lists[0].name if len(files.lists) == 1 else "its lists"
    first = next(iter(files.missing)).relative_to(files.folder)
    told = f"{files.folder}: expected {len(files.missing)} more files that {lists} name, {first} first"
    if not left or not known.is_from_youtube:
        raise ConfigError(f"{told}; finish the download: {known.advice}")
    print(f"favor-stream: {told}; {left}", file=sys.stderr)
