/** The library that checks signed web tokens (JWT), a file of its own in the program: imported lazily. */
export { createLocalJWKSet, createRemoteJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
