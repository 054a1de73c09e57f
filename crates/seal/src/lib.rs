//! Plain segments to sealed ones and back, in place; counts key use.
