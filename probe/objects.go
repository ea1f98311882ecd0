package probe

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	gtransport "google.golang.org/api/transport/grpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"tailweir/queue"
)

// largestMessage is above Pub/Sub's 10 MB, which the suite tries out.
const largestMessage = 32 << 20

// dial makes a connection for the raw API, which the suite and the checks of leases speak.
func dial(ctx context.Context, endpoint string) (*grpc.ClientConn, error) {
	size := grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largestMessage), grpc.MaxCallSendMsgSize(largestMessage))
	if endpoint != "" {
		return grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()), size)
	}
	return gtransport.Dial(ctx, option.WithEndpoint("pubsub.googleapis.com:443"),
		option.WithScopes("https://www.googleapis.com/auth/pubsub"), option.WithGRPCDialOption(size))
}

// Left is an object that could not be deleted.
type Left struct {
	Name    string `json:"name"`
	Why     string `json:"why"`
	Command string `json:"command"` // that deletes it
}

// object is a Pub/Sub object by its kind, as in paths and gcloud's commands, and its id.
type object struct{ kind, id string }

// objects is what the probe makes in the project. Each is noted before it is made, so that one is deleted whose creation
// was not answered.
type objects struct {
	project, prefix string
	pub             pubsubpb.PublisherClient
	sub             pubsubpb.SubscriberClient

	mu   sync.Mutex // guards made
	made []object
}

func newObjects(cfg queue.Config, prefix string, conn *grpc.ClientConn) *objects {
	return &objects{
		project: cfg.Project, prefix: prefix,
		pub: pubsubpb.NewPublisherClient(conn), sub: pubsubpb.NewSubscriberClient(conn),
	}
}

// name notes an object that is about to be made, and returns its id.
func (o *objects) name(kind, suffix string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := o.prefix + suffix
	o.made = append(o.made, object{kind, id})
	return id
}

func (o *objects) path(kind, id string) string {
	return "projects/" + o.project + "/" + kind + "/" + id
}

// pair makes a topic and a subscription of the same id, and returns their full names.
func (o *objects) pair(ctx context.Context, suffix string, ordered bool) (topic, subscription string, err error) {
	topic = o.path("topics", o.name("topics", suffix))
	if _, err := o.pub.CreateTopic(ctx, &pubsubpb.Topic{Name: topic}); err != nil {
		return "", "", fmt.Errorf("create topic %s: %w", topic, err)
	}
	subscription = o.path("subscriptions", o.name("subscriptions", suffix))
	_, err = o.sub.CreateSubscription(ctx, &pubsubpb.Subscription{
		Name: subscription, Topic: topic, AckDeadlineSeconds: int32(lease / time.Second), EnableMessageOrdering: ordered,
		MessageRetentionDuration: durationpb.New(time.Hour),
		ExpirationPolicy:         &pubsubpb.ExpirationPolicy{Ttl: durationpb.New(24 * time.Hour)},
	})
	if err != nil {
		return "", "", fmt.Errorf("create subscription %s: %w", subscription, err)
	}
	return topic, subscription, nil
}

// removePatience bounds the deletion of everything; a run that was interrupted is waited for by a person.
const removePatience = time.Minute

// remove deletes what was made, and what the suite left: all whose names begin with the prefix. It goes on after errors.
func (o *objects) remove(ctx context.Context, suite bool) (left []Left) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removePatience)
	defer cancel()
	o.mu.Lock()
	all := o.made
	o.mu.Unlock()
	if suite {
		strays, err := o.strays(ctx)
		if err != nil {
			left = append(left, Left{"of the suite, whatever is left", err.Error(),
				fmt.Sprintf("gcloud pubsub subscriptions list --project %s --filter=name:%s (and topics, snapshots)", o.project, o.prefix)})
		}
		all = append(all, strays...)
	}
	done := map[object]bool{}
	for i := len(all) - 1; i >= 0; i-- { // subscriptions before their topics
		if x := all[i]; !done[x] {
			done[x] = true
			if err := o.delete(ctx, x); err != nil && status.Code(err) != codes.NotFound {
				left = append(left, Left{o.path(x.kind, x.id), err.Error(),
					fmt.Sprintf("gcloud pubsub %s delete %s --project %s", x.kind, x.id, o.project)})
			}
		}
	}
	return left
}

func (o *objects) delete(ctx context.Context, x object) (err error) {
	name := o.path(x.kind, x.id)
	switch x.kind {
	case "topics":
		_, err = o.pub.DeleteTopic(ctx, &pubsubpb.DeleteTopicRequest{Topic: name})
	case "subscriptions":
		_, err = o.sub.DeleteSubscription(ctx, &pubsubpb.DeleteSubscriptionRequest{Subscription: name})
	default:
		_, err = o.sub.DeleteSnapshot(ctx, &pubsubpb.DeleteSnapshotRequest{Snapshot: name})
	}
	return err
}
