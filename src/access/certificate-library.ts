/**
 * The library that makes certificates. It is large, and is a file of its own in the program: imported lazily, where the
 * first certificate is made.
 */
import 'reflect-metadata';

export * from '@peculiar/x509';
