package order

// Effect is a NewLeader, an Accepted, an Anchored or an Anomaly. Effects are to be executed in the order in which they come.
type Effect interface{ effect() }

// NewLeader says that a claim has won, provisionally: until its Open is accepted another NewLeader may replace it.
type NewLeader struct{ Term Term }

// Accepted says that an entry counts, for every worker. Publish is the time of the copy that was read.
type Accepted struct {
	Entry   Entry
	Publish int64
}

// Anchored says that the replica knows where it is. Entries that it can prove were accepted follow, then what came after.
type Anchored struct {
	Term Term
	Seq  uint64 // the first entry that follows
}

// Anomaly says that the log was not what assumptions A and B promise. The worker must fence itself, Reset the replica and
// read the log again: decisions that it has executed since the breach may differ from the others'.
type Anomaly struct {
	Kind Kind
	ID   ID     // the term, or the claim
	Seq  uint64 // the entry, where there is one
}

func (NewLeader) effect() {}
func (Accepted) effect()  {}
func (Anchored) effect()  {}
func (Anomaly) effect()   {}

// Kind is the kind of an Anomaly.
type Kind uint8

const (
	Hole         Kind = iota + 1 // an entry was certified that is not accepted here
	UnknownClaim                 // an entry of a claim that was never read
	SmallerClaim                 // a claim that should have won, after another's Open
	TwoContents                  // two copies of one entry differ
	BrokenChain                  // the leader's chain hash is not ours
)

var kinds = [...]string{Hole: "hole", UnknownClaim: "unknown_claim", SmallerClaim: "smaller_claim", TwoContents: "two_contents", BrokenChain: "broken_chain"}

// String returns the name of k as metrics have it.
func (k Kind) String() string { return kinds[k] }
