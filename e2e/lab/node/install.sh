# Runs in the container that becomes the node image, as the Dockerfile of
# kind's base image does and then as kind's build does.
set -o errexit -o nounset -o pipefail

# what kind's base image takes out of a Debian (images/base/Dockerfile)
find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete
rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
  /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
  /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/*
echo ReadKMsg=no >>/etc/systemd/journald.conf
ln -sf /usr/lib/systemd/systemd /sbin/init
systemctl enable kubelet.service containerd.service undo-mount-hacks.service lab-keep-slice.service lab-pod-network.service
systemctl mask systemd-binfmt.service
mkdir -p /etc/kubernetes/manifests

# without CAP_SYS_RESOURCE nothing may lower its oom_score_adj
sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' /etc/containerd/config.toml
ctr oci spec |
  jq '.hooks.createContainer[.hooks.createContainer | length] |= . + {"path": "/kind/bin/mount-product-files.sh"} | del(.process.rlimits)' \
    >/etc/containerd/cri-base.json

# unpacking is left to the first use: it fails on fuse-overlayfs
containerd >/dev/null 2>&1 &
until ctr version >/dev/null 2>&1; do :; done
ctr --namespace=k8s.io images import --label=io.cri-containerd.pinned=pinned --all-platforms --no-unpack --digests /images.tar
rm /images.tar
kill %1
wait %1 || true
