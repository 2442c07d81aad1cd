"""Names that users, other tools and other versions of the operator rely on.

Everything here is a contract: change nothing without a migration.
"""

from typing import Final

GROUP: Final = "connect-autoscaler.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "ConnectAutoscalingProfile"
PLURAL: Final = "connectautoscalingprofiles"

FIELD_MANAGER: Final = "connect-autoscaler"
"""Field manager of every server-side apply, and ``reportingController`` of every event."""

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_PROFILE: Final = f"{GROUP}/profile"
ANNOTATION_PROFILE_UID: Final = f"{GROUP}/profile-uid"
ANNOTATION_REQUESTED_AT: Final = f"{GROUP}/requestedAt"
ANNOTATION_APPROVE: Final = f"{GROUP}/approve"

FINALIZER_PROFILE: Final = f"{GROUP}/profile"
FINALIZER_PROTECT: Final = f"{GROUP}/protect"

KARPENTER_GROUP: Final = "karpenter.sh"
KARPENTER_VERSION: Final = "v1"
KARPENTER_API_VERSION: Final = f"{KARPENTER_GROUP}/{KARPENTER_VERSION}"
NODEPOOL_CRD: Final = f"nodepools.{KARPENTER_GROUP}"
NODECLAIM_CRD: Final = f"nodeclaims.{KARPENTER_GROUP}"
LABEL_NODEPOOL: Final = f"{KARPENTER_GROUP}/nodepool"
ANNOTATION_NODEPOOL_HASH: Final = f"{KARPENTER_GROUP}/nodepool-hash"
LABEL_CAPACITY_TYPE: Final = f"{KARPENTER_GROUP}/capacity-type"
LABEL_ARCH: Final = "kubernetes.io/arch"
LABEL_OS: Final = "kubernetes.io/os"

VENDOR_REPOSITORY: Final = "https://helm.rstudio.com"
"""Of charts: where they come from unless somebody says otherwise."""
