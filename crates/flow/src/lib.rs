//! Which block goes when: loss, gaps, RTT, pacing, rate policies.
