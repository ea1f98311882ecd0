package order

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// ID names a claim and the term that it begins: 128 random bits, new for each claim.
type ID [16]byte

// String returns id in hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Worker names a process: 64 random bits, new for each start.
type Worker uint64

// Hash is 64 bits of SHA-256. It shows accidents; nobody who may publish to the log is an adversary.
type Hash uint64

// Sum returns the hash of a message's bytes, as Replica.Read wants it.
func Sum(message []byte) Hash {
	sum := sha256.Sum256(message)
	return Hash(binary.BigEndian.Uint64(sum[:]))
}

// fold is the chain hash up to an entry: over the chain hash before it and the entry's own. Before entry 1 it is 0.
func fold(chain, entry Hash) Hash {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(chain))
	binary.BigEndian.PutUint64(b[8:], uint64(entry))
	return Sum(b[:])
}

// Message is a Claim, an Entry, a Probe or an Unknown. Messages are not changed once they were made or parsed.
type Message interface{ message() }

// Claim asks for the lead. It is published once and never again, whether a reply came or not.
type Claim struct {
	ID     ID
	Worker Worker
}

// Entry is what a leader says. It is published with the same bytes until a reply comes; the next only then.
type Entry struct {
	ID           ID
	Worker       Worker
	ClaimPublish int64  // publish time of the claim
	Seq          uint64 // from 1, the Open, without holes
	Cert         Cert
	ChainHash    Hash  // over the entries up to Cert.Seq
	E            int64 // greatest publish time of a payload that the leader knows of
	Body         Body
}

// Cert is the greatest own entry that the leader's own replica had accepted when the entry was made, and its time. It is
// true even when the entry that carries it is void; joiners start from it. Zero before the Open is accepted.
type Cert struct {
	Seq     uint64
	Publish int64
}

// Body is what an entry says, any of the parts together. A part that is not there is nil or false.
type Body struct {
	Open   bool // in entry 1 and in no other
	Resign bool // the leader's last entry: others may claim soon
	// Members replaces the members; an empty list that is not nil says that there are none.
	Members  []Member
	Decide   []Decision
	Policy   *PolicyChange
	Limiters []byte // state of the sampling limiters, opaque here, so that a successor goes on from it
	// Away is how many ms after this entry the last payload returns to its topic that a member handed back for a while: its
	// facts die with this leader.
	Away uint64
}

// Member is a worker whose facts count, and the stream of them that does.
type Member struct {
	Worker Worker
	Stream uint64
}

// Decision is the verdict on a trace. It takes 17 bytes when the trace is dropped and no policy said so, 18 or 25 when it is
// kept (policies below 512), so one key's 1 MB/s is 55,000 traces a second. Half a trace id would spare 8 of them, but then
// two traces in a history of a million share one at odds of 1 in 40 million, and the worse when ids are not random.
type Decision struct {
	Trace     [16]byte
	Keep      bool
	Reason    uint8  // why the trace was decided when it was; below 8, not interpreted here
	Policy    uint16 // 1 + the index of the policy that decided, in the active policy set; 0: none did
	Threshold uint64 // T of OTEP-235; 0 when kept with certainty, or dropped; 2^56 when nobody can tell
	// First is the low 32 bits of a time, not interpreted here; 0: none. It takes 5 bytes, or 6 where 127 decisions or more
	// without one lie between, and makes its entry one of version 2.
	First uint32
}

// PolicyChange makes a policy the active one. A joiner knows the policy only from an entry that it has read: the leader
// repeats it, without Config if it likes, within the log's retention.
type PolicyChange struct {
	Epoch  uint64
	Hash   Hash
	Config []byte // the policy file; nil where Hash is enough
}

// Probe is written by a worker to see whether the log still comes back to it.
type Probe struct {
	Worker Worker
	Nonce  uint64
}

// Unknown is a message of a newer version or kind. It has no effect (rule 1). A newer version of Entry may only be written
// when every worker can read it, or followers will see holes.
type Unknown struct{ Version, Kind byte }

func (Claim) message()   {}
func (Entry) message()   {}
func (Probe) message()   {}
func (Unknown) message() {}
