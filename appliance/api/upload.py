"""One uploaded file on its way from the request to the disk, never whole in memory.

Django's multipart parser does the reading. Added are the limit before reading, a spool on the disk where the file
will stay, and that a body which ends early is refused: Django would take what came for the whole.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, TemporaryFileUploadHandler
from django.http import HttpRequest, QueryDict, UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.datastructures import MultiValueDict

from appliance.training import files
from appliance.training.errors import FileRefused

# The multipart frame around a file: boundaries, part headers, the other fields.
FRAME_BYTES = 64 * 1024


@contextmanager
def received(request: HttpRequest, folder: Path, limit: int) -> Iterator[tuple[QueryDict, UploadedFile[Any]]]:
    """The form's fields and its file, spooled below `folder` until the block ends.

    Raises: FileRefused naming the field.
    """
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    _check_before_reading(request, length, folder, limit)
    reader, spool = _Counting(request), _Spool(folder)
    try:
        fields, uploads = _parse(request, reader, spool)
        if reader.num_bytes != length:
            raise FileRefused("The upload broke off.", "file")
        yield fields, _only_file(uploads)
    finally:
        for file in spool.files:
            file.close()


def _check_before_reading(request: HttpRequest, length: int, folder: Path, limit: int) -> None:
    if request.content_type != "multipart/form-data":
        raise FileRefused("Send the file as multipart/form-data with the fields file and purpose.", "file")
    if length > limit + FRAME_BYTES:
        raise FileRefused(f"The plan's files have at most {limit} bytes.", "file", "file_too_large")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < files.FREE_BYTES + 2 * length:  # the spool, and the copy that stays
        raise FileRefused("The appliance's disk is nearly full; tell its operator.", "file", "disk_full")


def _parse(
    request: HttpRequest, reader: _Counting, spool: _Spool
) -> tuple[QueryDict, MultiValueDict[str, UploadedFile[Any]]]:
    try:
        return MultiPartParser(request.META, reader, [spool], "utf-8").parse()  # type: ignore[arg-type]
    except (MultiPartParserError, SuspiciousOperation):
        raise FileRefused("The multipart body can't be read; send the fields file and purpose.", "file") from None
    except UnreadablePostError:
        raise FileRefused("The upload broke off.", "file") from None


def _only_file(uploads: MultiValueDict[str, UploadedFile[Any]]) -> UploadedFile[Any]:
    found = [upload for _, named in uploads.lists() for upload in named]
    if len(found) != 1 or "file" not in uploads:
        raise FileRefused("Send exactly one file, in the field file and with a file name.", "file")
    return found[0]


class _Counting:
    """The request's body, counted: all that the parser asks of a stream."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self.num_bytes = 0

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end."""
        data = self._request.read(size)
        self.num_bytes += len(data)
        return data


class _SpooledFile(TemporaryUploadedFile):
    """A temporary file in a folder of ours: /tmp may be memory."""

    def __init__(self, folder: Path, name: str, content_type: str, charset: str | None, extra: Any) -> None:
        spool = tempfile.NamedTemporaryFile(dir=folder, prefix=".upload-")  # noqa: SIM115 - closed by the block above
        UploadedFile.__init__(self, spool, name, content_type, 0, charset, extra)


class _Spool(TemporaryFileUploadHandler):
    """Writes each chunk to the spool. Reading ends at the Content-Length, which was checked against the limit."""

    def __init__(self, folder: Path) -> None:
        super().__init__(None)
        self._folder = folder
        self.files: list[_SpooledFile] = []  # what to close, finished or not

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Django: a file's part begins."""
        FileUploadHandler.new_file(self, *args, **kwargs)
        assert self.file_name is not None  # noqa: S101 - Django skips parts without a name
        self.file = _SpooledFile(
            self._folder, self.file_name, self.content_type or "", self.charset, self.content_type_extra
        )
        self.files.append(self.file)
