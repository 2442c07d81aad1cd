"""What happened on a cluster, by its API alone, and a page of it.

    async with Recorder(kubeconfig, Watched("production", "posit", "connect")) as recorder:
        ...                                          # whatever happens
    Path("page.html").write_text(page(recorder.record, "What happened"))

`recorder` watches and `record` remembers, as spans of time; `charts` draws, `page` puts the pictures and their tables
into one file of HTML. It only reads, and asks for nothing but nodes, NodePools, the profile, and pods of one namespace,
so it works beside any cluster: `python -m recorder --help`.
"""

from recorder.page import Table, page
from recorder.record import Record, Watched
from recorder.recorder import Recorder

__all__ = ["Record", "Recorder", "Table", "Watched", "page"]
