"""A config as Kubernetes manifests: a `RayService` of KubeRay and what belongs around it.

rendering      documents of an overlay and a config, to what is applied; pure
refusals       what a config says that Kubernetes cannot be told
shapes         worker groups that models ask for: one for each kind of pod
node_choice    which nodes pods may have: accelerators and labels
groups         those groups, made from the overlay's prototype
serving        `serveConfigV2`, its parts placed on groups
fitting        settings, grace periods and sizes that follow from the config
stores         servers that are somebody else's
variables      environment variables out of Secrets, and the commands that make them
kustomization  building an overlay, and writing a kustomization
yaml_text      YAML that every reader understands alike
documents      finding one's way in documents
"""
