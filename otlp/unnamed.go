package otlp

import "bytes"

// ServiceName is the attribute that resources are told apart by.
const ServiceName = "service.name"

// AttrReceived is an attribute of a Pub/Sub message: when the ingest received the request, in unix nanoseconds. Nothing depends on it; it
// is for people and for what else reads the topic. An SDK's retry has another one.
const AttrReceived = "tailweir.received"

// Unnamed returns how many items have a resource without service.name, or with the stand-in that SDKs send where nobody has set it,
// unknown_service (semantic conventions, "service.name": "unknown_service:" and the name of the process).
func (p *Payload) Unnamed() (items int) {
	named := true
	for r := range int32(len(p.resources)) {
		named = named && p.named(r)
	}
	if named { // nearly always
		return 0
	}
	last, is := int32(-1), false
	for i := range p.entries {
		if r := p.resourceOf(int32(i)); r != last {
			last, is = r, p.named(r)
		}
		if !is {
			items++
		}
	}
	return items
}

func (p *Payload) named(r int32) bool {
	v, _ := p.Resource(r).Attribute(ServiceName)
	return len(v.Str()) > 0 && !bytes.HasPrefix(v.Str(), []byte("unknown_service"))
}
