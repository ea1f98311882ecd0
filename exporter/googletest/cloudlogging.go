package googletest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	logtype "google.golang.org/genproto/googleapis/logging/type"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

type loggingService struct {
	loggingpb.UnimplementedLoggingServiceV2Server
	s *Server
}

// WriteLogEntries has the partial success of logging.proto.
func (l *loggingService) WriteLogEntries(ctx context.Context, r *loggingpb.WriteLogEntriesRequest) (*loggingpb.WriteLogEntriesResponse, error) {
	err := l.s.handle(ctx, CloudLogging, len(r.Entries), Request{Message: r}, func(f *Fault) error { return l.take(r, f) })
	if err != nil {
		return nil, err
	}
	return &loggingpb.WriteLogEntriesResponse{}, nil
}

func (l *loggingService) take(r *loggingpb.WriteLogEntriesRequest, f *Fault) error {
	c := check{}
	c.that(len(r.Entries) > 0, "entries: required")
	c.atMost("entries", len(r.Entries), MaxEntries)
	if c.err != nil {
		return status.Error(codes.InvalidArgument, c.err.Error())
	}
	now := l.s.cfg.Now()
	refused := map[int32]*statuspb.Status{}
	var accepted []*loggingpb.LogEntry
	for i := range r.Entries {
		e := withDefaults(r, r.Entries[i])
		switch err := checkEntry(e, now); {
		case err != nil:
			refused[int32(i)] = &statuspb.Status{Code: int32(codes.InvalidArgument), Message: fmt.Sprintf("entries[%d].%v", i, err)}
		case slices.Contains(f.Entries, i):
			refused[int32(i)] = &statuspb.Status{Code: int32(f.Code), Message: cmp.Or(f.Message, "injected")}
		default:
			accepted = append(accepted, e)
		}
	}
	if len(refused) > 0 && (!r.PartialSuccess || len(accepted) == 0) {
		return status.FromProto(refused[slices.Min(slices.Collect(maps.Keys(refused)))]).Err()
	}
	if err := l.write(r, accepted, now); err != nil || len(refused) == 0 {
		return err
	}
	return partialFailure(refused)
}

// partialFailure is the status of one of the entries that failed, with those of all.
func partialFailure(refused map[int32]*statuspb.Status) error {
	st := status.FromProto(refused[slices.Min(slices.Collect(maps.Keys(refused)))])
	st, err := st.WithDetails(&loggingpb.WriteLogEntriesPartialErrors{LogEntryErrors: refused})
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	return st.Err()
}

func (l *loggingService) write(r *loggingpb.WriteLogEntriesRequest, accepted []*loggingpb.LogEntry, now time.Time) error {
	if r.DryRun {
		return nil
	}
	if err := heard(l.s.cfg.OnEntries, accepted); err != nil {
		return err
	}
	for _, e := range accepted {
		l.s.store.entry(l.s.cfg.Discard, e, now)
	}
	return nil
}

// withDefaults is the entry with what the request says for all entries, where it does not say it itself.
func withDefaults(r *loggingpb.WriteLogEntriesRequest, e *loggingpb.LogEntry) *loggingpb.LogEntry {
	if (e.LogName != "" || r.LogName == "") && (e.Resource != nil || r.Resource == nil) && len(r.Labels) == 0 {
		return e
	}
	e = proto.CloneOf(e)
	e.LogName = cmp.Or(e.LogName, r.LogName)
	e.Resource = cmp.Or(e.Resource, r.Resource)
	labels := maps.Clone(r.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, e.Labels)
	e.Labels = labels
	return e
}

// checkEntry returns the first limit that an entry exceeds.
func checkEntry(e *loggingpb.LogEntry, now time.Time) error {
	c := check{}
	c.atMost("size", proto.Size(e), MaxEntryBytes)
	c.logName(e.LogName)
	c.that(e.Resource.GetType() != "", "resource.type: required")
	c.that(e.Timestamp == nil || e.Timestamp.IsValid(), "timestamp: not a time")
	if e.Timestamp != nil {
		c.age("timestamp", e.Timestamp.AsTime(), now, MaxEntryAge, MaxEntryFuture)
	}
	c.atMost("insert_id", len(e.InsertId), MaxInsertID)
	c.that(consistsOf(e.InsertId, insertIDCharacters), "insert_id: has other characters than letters, digits, '-', '_' and '.'")
	c.atMost("labels", len(e.Labels), MaxLabels)
	for k, v := range e.Labels {
		c.that(k != "", "labels: a key is empty")
		c.text("labels: bytes of a key", k, MaxLabelKey)
		c.text("labels: bytes of a value", v, MaxLabelValue)
	}
	_, known := logtype.LogSeverity_name[int32(e.Severity)]
	c.that(known, "severity: unknown")
	c.that(e.Trace == "" || isTraceName(e.Trace), "trace: want projects/[PROJECT_ID]/traces/[32 hex digits]")
	c.that(e.SpanId == "" || isID(e.SpanId, spanIDDigits), "span_id: want 16 hex digits, not all zero")
	return c.err
}

func (c *check) logName(name string) {
	parts := strings.Split(name, "/")
	c.that(len(parts) == 4 && isLogParent(parts[0], parts[1]) && parts[2] == "logs", "log_name: want projects/[PROJECT_ID]/logs/[LOG_ID]")
	if c.err != nil {
		return
	}
	id, err := url.PathUnescape(parts[3])
	c.that(err == nil && id != "" && consistsOf(id, logIDCharacters), "log_name: the log id has other characters than letters, digits, '/', '-', '_' and '.', or is not URL-encoded")
	c.atMost("log_name: characters of the log id", len(id), MaxLogID)
}

func isLogParent(kind, id string) bool {
	return kind == "projects" && isProject(id) ||
		slices.Contains([]string{"organizations", "billingAccounts", "folders"}, kind) && id != "" && consistsOf(id, "-")
}

func isTraceName(s string) bool {
	parts := strings.Split(s, "/")
	return len(parts) == 4 && parts[0] == "projects" && isProject(parts[1]) && parts[2] == "traces" && isID(parts[3], traceIDDigits)
}

// entryKeyOf is what makes entries duplicates in a query: not the log's name. Without an insert id no two are.
func entryKeyOf(e *loggingpb.LogEntry) entryKey {
	parts := strings.SplitN(e.LogName, "/", 3)
	return entryKey{parent: parts[0] + "/" + parts[1], time: e.Timestamp.AsTime().UnixNano(), id: e.InsertId}
}

// stamped is the entry with what the API supplies where it is missing: the time, and an id of its own.
func stamped(e *loggingpb.LogEntry, now time.Time, n int) *loggingpb.LogEntry {
	if e.Timestamp != nil && e.InsertId != "" {
		return e
	}
	e = proto.CloneOf(e)
	if e.Timestamp == nil {
		e.Timestamp = timestamppb.New(now)
	}
	e.InsertId = cmp.Or(e.InsertId, fmt.Sprintf("assigned-%d", n))
	return e
}
