"""Models as C99 source for microcontrollers; see docs/guides/microcontroller.md and docs/adr/0026."""

from disc_stream_export.c.exporting import CExport, COptions, export_c

__all__ = ["CExport", "COptions", "export_c"]
