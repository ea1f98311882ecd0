package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"regexp"
	"strings"
)

// keyPrefix tells a key from other secrets, for people and for scanners of repositories.
const keyPrefix = "tailweir_"

const (
	keyBytes  = 32
	keyDigits = (keyBytes*8 + 4) / 5
	keyLength = len(keyPrefix) + keyDigits
)

var keyAlphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewKey makes a key: the prefix and 32 bytes of the system's randomness. It has letters and digits alone behind the prefix, so it needs no quotes or
// encoding in an environment, a header or a URL.
func NewKey() string {
	var b [keyBytes]byte
	rand.Read(b[:]) // never fails: the process ends before
	return keyPrefix + keyAlphabet.EncodeToString(b[:])
}

// hashPrefix stands before a hash in the file.
const hashPrefix = "sha256:"

// HashOf returns what the file of keys has for the key.
func HashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// isKey reports whether s has the form of a key.
func isKey(s string) bool {
	if len(s) != keyLength || !strings.HasPrefix(s, keyPrefix) {
		return false
	}
	for _, c := range []byte(s[len(keyPrefix):]) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// hashOf is the SHA-256 of s, which isKey. The array keeps the conversion from allocating.
func hashOf(s string) [sha256.Size]byte {
	var b [keyLength]byte
	copy(b[:], s)
	return sha256.Sum256(b[:])
}

var keysIn = regexp.MustCompile(keyPrefix + "[A-Za-z0-9]{8,}")

// withoutKeys takes keys out of a text that may quote a file.
func withoutKeys(s string) string {
	return keysIn.ReplaceAllString(s, keyPrefix+"…")
}
