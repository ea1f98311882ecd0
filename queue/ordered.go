package queue

import (
	"context"
	"fmt"

	pubsubapi "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// OrderedPublisher publishes to one topic under one ordering key, each message in a request of its own that is never
// repeated: what a repetition means is its user's to say. Pub/Sub orders messages by the calls of one publisher only
// if each was answered before the next is made; calls at once are safe, but in no order.
type OrderedPublisher struct {
	topic, key string
	client     *pubsubapi.TopicAdminClient
}

// OrderedPublisher returns a publisher to the topic, an id in the client's project or a full resource name.
func (c *Client) OrderedPublisher(topic, key string) *OrderedPublisher {
	return &OrderedPublisher{topic: c.path("topics", topic), key: key, client: c.pubsub.TopicAdminClient}
}

// Publish returns nil once Pub/Sub has confirmed the message. After an error, which comes at the latest when ctx ends,
// the message may still be published, now or later. data, 1 B to 10 MB, is not kept.
func (p *OrderedPublisher) Publish(ctx context.Context, data []byte) error {
	_, err := p.PublishID(ctx, data)
	return err
}

// PublishID is Publish that returns the server's id of the message.
func (p *OrderedPublisher) PublishID(ctx context.Context, data []byte) (id string, err error) {
	resp, err := p.client.Publish(ctx, &pubsubpb.PublishRequest{
		Topic:    p.topic,
		Messages: []*pubsubpb.PubsubMessage{{Data: data, OrderingKey: p.key}},
	}, once)
	if err != nil {
		return "", fmt.Errorf("publish to %s: %w", p.topic, err)
	}
	if n := len(resp.GetMessageIds()); n != 1 {
		return "", fmt.Errorf("publish to %s: %d ids for one message", p.topic, n)
	}
	return resp.MessageIds[0], nil
}
