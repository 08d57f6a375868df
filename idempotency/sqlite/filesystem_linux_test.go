package sqlite

import "testing"

func TestNetworkFileSystemsAreRefused(t *testing.T) {
	for magic, want := range map[uint32]bool{
		0x6969:     false, // NFS
		0xff534d42: false, // CIFS
		0xfe534d42: false, // SMB2
		0x01021997: false, // 9P
		0xef53:     true,  // ext4
		0x58465342: true,  // XFS
		0x9123683e: true,  // btrfs
		0x01021994: true,  // tmpfs
		0x794c7630: true,  // overlay
		0x65735546: true,  // FUSE
	} {
		if kind, local := classify(magic); local != want {
			t.Errorf("%#x (%s): local %v", magic, kind, local)
		}
	}
}
