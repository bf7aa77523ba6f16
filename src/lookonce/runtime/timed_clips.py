"""Write annotated videos with the sound and frame times of their source, with PyAV (`lookonce[video]`).

The sound is read from the source separately and encoded as Opus, interleaved with the frames, so that players
find both for the same moment close together in the file.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce._files import open_input, replacing
from lookonce._optional import require
from lookonce.errors import ImageError
from lookonce.runtime.video_checks import FASTEST_RATE, LONGEST_GAP, USUAL_RATE, Moment

CODERS = "libvpx", "libopus"  # VP8 and Opus, which all browsers play
CLOCK = Fraction(1, 1000)  # seconds; WebM stores times in milliseconds
BITS_PER_PIXEL = 1.0  # upper limit; normally `QUALITY` determines the bit rate
QUALITY = {"deadline": "realtime", "cpu-used": "8", "crf": "8"}
SOUND_RATE = 48_000  # samples per second, Opus's own


def keeps_sound() -> bool:
    """Return whether PyAV is installed with the codecs for WebM."""
    try:
        import av
    except ImportError:
        return False
    return all(name in av.codecs_available for name in CODERS)


class TimedClipWriter:
    """Writes RGB frames and their source's sound to a `.webm` file, which gets its final name at the end."""

    def __init__(self, path: Path, size: tuple[int, int], rate: float, source: Path | None = None) -> None:
        """Begin the file.

        Args:
            path: a `.webm` file.
            size: (height, width) of the frames; an odd side is padded by repeating its last pixel.
            rate: frames per second, as a hint for the encoder; each frame has its own time.
            source: video with the sound; None for no sound.

        Raises:
            ImageError: the file cannot be written.
        """
        self._av = av = require("av", "video")
        self.path = path
        self._size = size
        self._padding = size[0] % 2, size[1] % 2
        self._frame_seconds = 1 / (rate if 0 < rate <= FASTEST_RATE else USUAL_RATE)
        self._first, self._seconds, self._ticks = 0.0, 0.0, -1
        self._rename, self._open = ExitStack(), ExitStack()
        temporary = self._rename.enter_context(replacing(path))
        try:
            self._container: Any = self._open.enter_context(av.open(str(temporary), "w", format="webm"))
            picture = self._container.add_stream(
                "libvpx", rate=Fraction(1 / self._frame_seconds).limit_denominator(1001)
            )
            picture.height, picture.width = (side + side % 2 for side in size)
            picture.pix_fmt = "yuv420p"
            picture.codec_context.time_base = picture.time_base = CLOCK
            bits = BITS_PER_PIXEL * size[0] * size[1] / self._frame_seconds
            picture.bit_rate = int(min(bits, 1e9))
            picture.codec_context.options = QUALITY
            picture.codec_context.open()
            self._picture = picture
            self._sound = self._coded_sound(source)
            self._waiting = next(self._sound, None)
        except (av.FFmpegError, ValueError) as error:
            with self._rename, self._open:
                raise ImageError(
                    f"{path}: a video of {size[0]}x{size[1]} (height x width) at {rate:g} frames per second "
                    f"cannot be written there: {error}"
                ) from error

    def add(self, frame: NDArray[np.uint8], moment: Moment) -> None:
        """Append an (H, W, 3) frame, scaled to the video's size if it differs, as a stream's may.

        Raises:
            ImageError: the file cannot be written.
        """
        if frame.shape[:2] != self._size:
            frame = cv2.resize(frame, self._size[::-1]).astype(np.uint8, copy=False)
        padded = cv2.copyMakeBorder(frame, 0, self._padding[0], 0, self._padding[1], cv2.BORDER_REPLICATE)
        if self._ticks < 0:
            self._first = moment.seconds
        elif not 0 <= moment.seconds - self._first - self._seconds <= LONGEST_GAP:  # an invalid time
            self._first = moment.seconds - self._seconds - self._frame_seconds
        self._seconds = moment.seconds - self._first
        picture = self._av.VideoFrame.from_ndarray(padded, "rgb24")
        self._ticks = max(round(self._seconds / CLOCK), self._ticks + 1)
        picture.pts, picture.time_base = self._ticks, CLOCK
        try:
            self._container.mux(self._picture.encode(picture))
            self._add_sound(self._seconds)
        except (self._av.FFmpegError, OSError) as error:
            raise ImageError(f"{self.path}: cannot be written: {error}") from error

    def close(self, *, complete: bool = True) -> None:
        """Finish the file and give it its final name.

        Args:
            complete: whether the source was read to its end, so that the rest of its sound is added.

        Raises:
            ImageError: the file cannot be written, for example because the disk is full; it is removed.
        """
        with self._rename:
            try:
                with self._open:
                    self._container.mux(self._picture.encode(None))
                    self._add_sound(None if complete else self._seconds + self._frame_seconds)
            except (self._av.FFmpegError, OSError) as error:
                raise ImageError(f"{self.path}: cannot be written: {error}") from error

    def _add_sound(self, until: float | None) -> None:
        """Write the sound up to a time in seconds; None for all the rest."""
        while self._waiting is not None and (
            until is None or self._waiting.pts * self._waiting.time_base <= until
        ):
            self._container.mux(self._waiting)
            self._waiting = next(self._sound, None)

    def _coded_sound(self, source: Path | None) -> Iterator[Any]:
        """Yield the encoded packets of the source's sound, from a second pass over its file."""
        if source is None:
            return
        stream = self._open.enter_context(open_input(source, ImageError))
        try:
            given = self._open.enter_context(self._av.open(stream, mode="r", metadata_errors="replace"))
            (picture, *_), (sound, *_) = given.streams.video, given.streams.audio
        except (self._av.FFmpegError, ValueError):  # no sound
            return
        begin = float((picture.start_time or 0) * picture.time_base)
        coded = self._container.add_stream("libopus", rate=SOUND_RATE)
        coded.layout = "mono" if sound.channels == 1 else "stereo"
        coded.time_base = Fraction(1, SOUND_RATE)
        resampler = self._av.AudioResampler("flt", coded.layout, SOUND_RATE)
        try:
            for samples in given.decode(sound):
                if samples.time is None or samples.time < begin:
                    continue
                for each in resampler.resample(samples):
                    each.pts -= round(begin / each.time_base)
                    yield from coded.encode(each)
        except self._av.FFmpegError:  # reading the frames reports the damage
            pass
        yield from coded.encode(None)
