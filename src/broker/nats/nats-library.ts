/**
 * The client of NATS, a file of its own in the program: what uses it is loaded where a cluster is named. All else that
 * imports the client imports its types.
 */
export { jetstream, jetstreamManager } from '@nats-io/jetstream';
export { connect, createInbox, credsAuthenticator, headers, nkeyAuthenticator, nuid } from 'nats';
