"""Values for the chart, by what is expected of them. A name of a case is what pytest shows."""

from typing import Any

from integration.charts import BASE, Values

NO_STORAGE: dict[str, Any] = {"sharedStorage": {"create": False, "mount": False}}
LOCAL: dict[str, Any] = {"backends": {"kubernetes": {"enabled": False}}}
LAUNCHER: dict[str, Any] = LOCAL | {"launcher": {"enabled": True}}

TOLERATION = {"key": "workload", "operator": "Equal", "value": "connect-server", "effect": "NoSchedule"}
SPREAD = {
    "maxSkew": 1,
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "rstudio_connect"}},
}
PDB = {"podDisruptionBudget": {"minAvailable": 1}}


def backend(**settings: Any) -> dict[str, Any]:
    return {"backends": {"kubernetes": settings}}


def job_base(**pod_spec: Any) -> dict[str, Any]:
    return backend(defaultResourceJobBase={"spec": {"template": {"spec": pod_spec}}})


def kubernetes(**settings: Any) -> dict[str, Any]:
    return {"config": {"Kubernetes": settings}}


def storage(**settings: Any) -> dict[str, Any]:
    return {"sharedStorage": {**BASE["sharedStorage"], **settings}}


def _mounting(container: str, path: str) -> Values:
    return {"name": container, "volumeMounts": [{"name": "own", "mountPath": path}]}


# The overlay, word for word as the vendor prints it.
OVERLAY: dict[str, Any] = {
    "tolerations": [TOLERATION],
    "nodeSelector": {"workload": "connect-server"},
    "pod": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}},
    "backends": {
        "kubernetes": {
            "enabled": True,
            "defaultResourceJobBase": {
                "spec": {
                    "template": {
                        "spec": {"nodeSelector": {"workload": "connect-content"}, "topologySpreadConstraints": [SPREAD]}
                    }
                }
            },
        }
    },
    "config": {"Kubernetes": {"RenderedContentAnnotation": ["karpenter.sh/do-not-disrupt=true"]}},
}

# A base that has something to say about everything that the chart completes.
OWN_BASE: Values = job_base(
    serviceAccountName="content",
    initContainers=[{"name": "prepare", "image": "a"}, {"name": "connect-content-init", "image": "mirror/init:1"}],
    containers=[{"name": "connect-content", "env": [{"name": "A", "value": "b"}]}, {"name": "proxy", "image": "b"}],
    volumes=[{"name": "rsc-volume", "emptyDir": {"medium": "Memory"}}, {"name": "own", "emptyDir": {}}],
)

# Change the pod template.
RESTARTING: dict[str, Values] = {
    "nodeSelector": {"nodeSelector": {"a": "b"}},
    "tolerations": {"tolerations": [TOLERATION]},
    "topologySpreadConstraints": {"topologySpreadConstraints": [SPREAD]},
    "priorityClassName": {"priorityClassName": "high"},
    "resources": {"resources": {"requests": {"cpu": "1"}}},
    "annotations": {"pod": {"annotations": {"a": "b"}}},
    "labels": {"pod": {"labels": {"a": "b"}}},
    "affinity": {"pod": {"affinity": {"nodeAffinity": {}}}},
    "env": {"pod": {"env": [{"name": "A", "value": "b"}]}},
    "grace period": {"pod": {"terminationGracePeriodSeconds": 60}},
    "probe": {"readinessProbe": {"periodSeconds": 10}},
    "service account": {"rbac": {"serviceAccount": {"name": "other"}}},
    "prometheus": {"prometheus": {"enabled": False}},
}

# Change the ConfigMap, and the pod template by its checksum alone.
CONFIGURING: dict[str, Values] = {
    "config": {"config": {"Server": {"Address": "https://connect.example.com"}}},
    "annotation of renders": kubernetes(RenderedContentAnnotation=["a=b"]),
    "job base": job_base(nodeSelector={"a": "b"}),
    "init container": {"backends": {"kubernetes": {"defaultInitContainer": {"tag": "1"}}}},
    "content namespace": {"backends": {"kubernetes": {"namespace": "content"}}},
    "content storage": {"sharedStorage": {"mountContent": False}},
}

# Change something else.
QUIET: dict[str, Values] = {
    "replicas": {"replicas": 2},
    "strategy": {"strategy": {"type": "Recreate"}},
    "surge": {"strategy": {"rollingUpdate": {"maxSurge": 1}}},
    "budget": PDB,
    "history": {"revisionHistoryLimit": 1},
    "annotations of the Deployment": {"deployment": {"annotations": {"a": "b"}}},
    "annotations of the Service": {"service": {"annotations": {"a": "b"}}},
    "labels of the service account": {"rbac": {"serviceAccount": {"labels": {"a": "b"}}}},
    "storage request": {"sharedStorage": {"requests": {"storage": "20Gi"}}},
    "licence": {"license": {"key": "CCCC-DDDD"}},
}

# Change nothing.
INERT: dict[str, Values] = {
    "affinity at the top": {"affinity": {"nodeAffinity": {}}},
    "Launcher that is off": {"launcher": {"namespace": "content"}},
    "misspelt key": {"nodeselector": {"a": "b"}},
}

# What a chart has to refuse, with a word that its message has to name.
REFUSED: dict[str, tuple[Values, str]] = {
    "two runners": ({"launcher": {"enabled": True}}, "launcher.enabled"),
    "no storage": (NO_STORAGE, "storage"),
    "overlay without storage": (OVERLAY | NO_STORAGE, "storage"),
    "Launcher without storage": (LAUNCHER | NO_STORAGE, "storage"),
    "backend switched off in config": (kubernetes(Enabled=False), "config.Kubernetes.Enabled"),
    "another namespace in config": (kubernetes(Namespace="other"), "config.Kubernetes.Namespace"),
    "subPath that content does not mount": (storage(subPath="a", mountContent=False), "sharedStorage.mountContent"),
    "subPath with an older Connect": (storage(subPath="a") | {"versionOverride": "2026.07.0"}, "2026.08.0"),
    "absolute subPath": (storage(subPath="/a"), "sharedStorage.subPath"),
    "subPath that climbs": (storage(subPath="a/../../b"), "sharedStorage.subPath"),
    "job base of another kind": (backend(defaultResourceJobBase={"kind": "Pod"}), "defaultResourceJobBase.kind"),
    "service base of another kind": (
        backend(defaultResourceServiceBase={"kind": "Pod"}),
        "defaultResourceServiceBase.kind",
    ),
    "mount at the runtime's directory": (
        job_base(containers=[_mounting("connect-content", "/opt/rstudio-connect-runtime")]),
        "/opt/rstudio-connect-runtime",
    ),
    "mount at the server's directory": (
        job_base(containers=[_mounting("connect-content", "/opt/rstudio-connect")]),
        "/opt/rstudio-connect",
    ),
    "mount at the init container's directory": (
        job_base(initContainers=[_mounting("connect-content-init", "/mnt/rstudio-connect-runtime/")]),
        "/mnt/rstudio-connect-runtime/",
    ),
    "overrides with templates": (
        LAUNCHER | {"launcher": {"enabled": True, "launcherKubernetesProfilesConf": {"*": {"job-json-overrides": []}}}},
        "job-json-overrides",
    ),
    "name service without a provider": ({"nameservice": {"enabled": True, "apiKey": "k"}}, "nameservice.enabled"),
    "Chronicle in a pod that is not root's": (
        {"chronicle": {"localConfig": {"Logging": {"Level": "DEBUG"}}}, "pod": {"securityContext": {"runAsUser": 999}}},
        "chronicle.localConfig",
    ),
    "pod.nodeSelector": ({"pod": {"nodeSelector": {"a": "b"}}}, "pod.nodeSelector"),
    "pod.serviceAccountName": ({"pod": {"serviceAccountName": "a"}}, "pod.serviceAccountName"),
    "image.tagPrefix": ({"image": {"tagPrefix": "a"}}, "image.tagPrefix"),
    "tagPrefix of the init container": (
        backend(defaultInitContainer={"tagPrefix": "a"}),
        "backends.kubernetes.defaultInitContainer.tagPrefix",
    ),
    "tagPrefix of the Launcher's init container": (
        {"launcher": {"defaultInitContainer": {"tagPrefix": "a"}}},
        "launcher.defaultInitContainer.tagPrefix",
    ),
    "launcher.customRuntimeYaml": ({"launcher": {"customRuntimeYaml": "base"}}, "launcher.customRuntimeYaml"),
    "launcher.additionalRuntimeImages": (
        {"launcher": {"additionalRuntimeImages": ["a"]}},
        "launcher.additionalRuntimeImages",
    ),
    "launcher.contentInitContainer": (
        {"launcher": {"contentInitContainer": {"tag": "a"}}},
        "launcher.contentInitContainer",
    ),
    "probe taken away": ({"readinessProbe": None}, "nil pointer evaluating"),
}

# Values for which the stand-in and the vendor's chart have to make the same of the server's pod and of the content's.
ALIKE: dict[str, tuple[Values, ...]] = {
    "defaults": (),
    "overlay": (OVERLAY,),
    "overlay over the user's own": (
        {"tolerations": [{"key": "a", "operator": "Exists"}], "nodeSelector": {"a": "b"}, **job_base(tolerations=[{}])},
        OVERLAY,
    ),
    "everything that places a server": (
        RESTARTING["affinity"],
        RESTARTING["annotations"],
        RESTARTING["labels"],
        RESTARTING["grace period"],
        RESTARTING["priorityClassName"],
        RESTARTING["resources"],
        RESTARTING["tolerations"],
        RESTARTING["topologySpreadConstraints"],
        {"nodeSelector": {"a": True}, "pod": {"annotations": {"switch": True, "number": 1048576, "nothing": None}}},
    ),
    "another name": ({"nameOverride": "rsc"}, PDB),
    "another namespace for content": (backend(namespace="content"), kubernetes(ConnectRuntimeDir="/opt/runtime")),
    "a base of the user's own": (OVERLAY, OWN_BASE),
    "a service base": (backend(defaultResourceServiceBase={"spec": {"type": "ClusterIP"}}),),
    "no init container": (OVERLAY, backend(defaultInitContainer={"enabled": False})),
    "Launcher": (LAUNCHER,),
    "local": (LOCAL,),
    "storage that exists": (storage(create=False, name="mine", subPath="connect"),),
    "licence server": ({"license": {"key": None, "server": "licence.example.com:8989"}},),
}
