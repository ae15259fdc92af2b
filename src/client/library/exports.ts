/** What both entries export besides `connect`. Runs in browsers. */
export { BackplaneError, type ErrorCode, type ErrorDetails } from '../../errors.js';
export type * from '../../wire/typed/messages.js';
export type { Bus } from './bus.js';
export type { Clusters } from './clusters.js';
export type { Feed } from './feed.js';
export type { Group, GroupBatch, GroupOptions, GroupSubscription } from './group.js';
export type { BatchItem, EventItem, EventsItem, FeedItem, NoticeItem, Subscription } from './items.js';
export type { Draft, PublishAttributes, Published } from './publishing.js';
