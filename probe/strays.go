package probe

import (
	"context"
	"fmt"
	"strings"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// strays lists the project's topics, subscriptions and snapshots whose ids begin with the prefix, topics first. The cases
// of the suite delete what they make; this is for those that could not.
func (o *objects) strays(ctx context.Context) (found []object, err error) {
	project := "projects/" + o.project
	for _, l := range []struct {
		kind string
		page func(token string) (names []string, next string, err error)
	}{
		{"topics", func(token string) (names []string, next string, err error) {
			resp, err := o.pub.ListTopics(ctx, &pubsubpb.ListTopicsRequest{Project: project, PageSize: 1000, PageToken: token})
			for _, t := range resp.GetTopics() {
				names = append(names, t.GetName())
			}
			return names, resp.GetNextPageToken(), err
		}},
		{"subscriptions", func(token string) (names []string, next string, err error) {
			resp, err := o.sub.ListSubscriptions(ctx, &pubsubpb.ListSubscriptionsRequest{Project: project, PageSize: 1000, PageToken: token})
			for _, s := range resp.GetSubscriptions() {
				names = append(names, s.GetName())
			}
			return names, resp.GetNextPageToken(), err
		}},
		{"snapshots", func(token string) (names []string, next string, err error) {
			resp, err := o.sub.ListSnapshots(ctx, &pubsubpb.ListSnapshotsRequest{Project: project, PageSize: 1000, PageToken: token})
			for _, s := range resp.GetSnapshots() {
				names = append(names, s.GetName())
			}
			return names, resp.GetNextPageToken(), err
		}},
	} {
		for token, more := "", true; more; more = token != "" {
			var names []string
			if names, token, err = l.page(token); err != nil {
				return found, fmt.Errorf("list %s of %s: %w", l.kind, project, err)
			}
			for _, name := range names {
				if id := strings.TrimPrefix(name, o.path(l.kind, "")); strings.HasPrefix(id, o.prefix) {
					found = append(found, object{l.kind, id})
				}
			}
		}
	}
	return found, nil
}
