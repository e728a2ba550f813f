//! The clauses of the contract as tests that run over every implementation.
