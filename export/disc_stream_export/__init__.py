"""Turns a trained run into a bundle: one ONNX graph, checked against torch, with its manifest."""

from disc_stream_export.exporter import Choices, export_run

__all__ = ["Choices", "export_run"]
