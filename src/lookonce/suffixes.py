"""The suffixes of image files that are written, of those that are read, and of those that are not."""

WRITTEN_SUFFIXES = (".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp")
SUFFIXES_BY_FORMAT = {  # suffixes by `ImageHeader.format`, the usual one first
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WebP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "JPEG 2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "PNM": (".pnm", ".pbm", ".pgm", ".ppm"),
    "PCX": (".pcx",),
    "TGA": (".tga",),
}
IMAGE_SUFFIXES = tuple(suffix for suffixes in SUFFIXES_BY_FORMAT.values() for suffix in suffixes)
UNREAD_SUFFIXES = (".arw", ".cr2", ".cr3", ".dds", ".dng", ".exr", ".hdr", ".heic", ".heics", ".heif", ".hif",
                   ".ico", ".jxl", ".jxr", ".nef", ".orf", ".psd", ".qoi", ".raf", ".ras", ".rw2", ".sgi",
                   ".svg")  # fmt: skip
SERIES_SUFFIXES = (".avif", ".gif", ".png", ".tif", ".tiff", ".webp")  # formats that can hold several images
TIFF_SUFFIXES = (".tif", ".tiff")
