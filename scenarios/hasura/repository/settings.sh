# What the scripts beside this one share. Sourced.

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

need_settings() {
    local file missing=0
    for file in k8s/Secrets.yaml k8s/ConfigMap.yaml; do
        if [[ ! -s $file ]]; then
            printf '%s is missing: copy %s.template and fill it in\n' "$file" "$file" >&2
            missing=1
        fi
    done
    [[ $missing = 0 ]] || exit 1
}

# with_settings FILE: a Deployment that differs whenever the two files do.
with_settings() {
    local digest
    digest=$(cat k8s/Secrets.yaml k8s/ConfigMap.yaml | sha256sum | cut -c 1-16)
    sed "s/SETTINGS/$digest/" "$1"
}
