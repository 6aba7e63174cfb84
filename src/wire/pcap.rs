//! Packet captures: reader and writer of the classic pcap format.
