package sqlite

import "golang.org/x/sys/unix"

// networkFileSystems by the magic numbers of statfs(2). FUSE is not among them: it may be local (many
// desktops) or remote (sshfs), the number does not tell, and its locks are the file system's own.
var networkFileSystems = map[uint32]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.SMB_SUPER_MAGIC:  "SMB",
	unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CIFS_SUPER_MAGIC: "CIFS",
	unix.V9FS_MAGIC:       "9P",
	unix.AFS_SUPER_MAGIC:  "AFS",
	unix.AFS_FS_MAGIC:     "AFS",
	unix.CODA_SUPER_MAGIC: "Coda",
	unix.NCP_SUPER_MAGIC:  "NCP",
	unix.CEPH_SUPER_MAGIC: "Ceph",
	0x01161970:            "GFS2",
	0x7461636f:            "OCFS2",
	0x0bd00bd0:            "Lustre",
	0x47504653:            "GPFS",
	0xaad7aaea:            "PanFS",
}

// fileSystem returns what dir lies on and whether a store may live there. When it cannot be known, it
// may: the lock file is still between two processes.
func fileSystem(dir string) (kind string, local bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "unknown", true
	}
	return classify(uint32(s.Type))
}

func classify(magic uint32) (kind string, local bool) {
	kind, network := networkFileSystems[magic]
	return kind, !network
}
