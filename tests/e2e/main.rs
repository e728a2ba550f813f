//! The whole, end to end: real processes, a real nats-server, real `kill -9`.

mod again;
mod bench;
mod bench_ends;
mod breakers;
mod cluster;
mod crash;
mod expect;
mod failover;
mod hostile;
mod journal;
mod lend;
mod onlookers;
mod operate;
mod puller;
mod refuse;
