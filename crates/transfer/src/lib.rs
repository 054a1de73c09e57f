//! A whole job from two addresses to a summary.
