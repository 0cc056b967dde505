"""The runtimes that can run a bundle's graph, each behind one small interface, and the choice among them.

::

    choosing ──▶ opening ──▶ onnx_session, openvino_session ──▶ session (the interface), buckets
       └──▶ probes (windows that candidates are compared on), remembered (answers of earlier starts), cpus
"""
