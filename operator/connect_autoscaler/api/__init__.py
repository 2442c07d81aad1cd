"""The resource in Python: spec, status, conditions and their reasons. Types only, no input or output.

`crds/connectautoscalingprofiles.yaml` is the source of truth; tests prove that these models accept, refuse and default
exactly what an API server does with it.
"""
