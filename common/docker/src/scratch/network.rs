//! The addresses of a sandbox's network: as few as its containers need.

use std::net::Ipv4Addr;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use lifeboat_core::Sha256Digest;

use crate::EngineError;
use crate::engine::Engine;
use crate::ownership::Ownership;

/// How many subnets are tried, in case they overlap with others.
const SUBNETS_TRIED: u32 = 8;

impl Engine {
    /// Creates a network with only as many addresses as this many containers need. The kernel has one neighbour table
    /// for all networks of this host, and a container in a large network could fill it.
    pub(super) async fn create_small_network(
        &self,
        request: NetworkCreateRequest,
        owner: &Ownership,
        containers: usize,
    ) -> Result<String, EngineError> {
        let mut outcome = None;
        for attempt in 0..SUBNETS_TRIED {
            let config =
                IpamConfig { subnet: Some(subnet(owner, containers, attempt)), ..Default::default() };
            let ipam = Ipam { config: Some(vec![config]), ..request.ipam.clone().unwrap_or_default() };
            let request = NetworkCreateRequest { ipam: Some(ipam), ..request.clone() };
            let made = self.client().create_network(request).await;
            match made.map_err(EngineError::call("create a scratch network")) {
                Ok(network) => return Ok(network.id),
                // It overlaps with another network of the engine's.
                Err(error @ EngineError::Answer { .. }) => outcome = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(outcome
            .unwrap_or_else(|| EngineError::IsolationUnproven { reason: "no network was tried".to_owned() }))
    }
}

/// The `attempt`th subnet for this many containers and the probe: in the range that is reserved for network tests (RFC
/// 2544, 198.18.0.0/15), at a position derived from the rehearsal's random id.
fn subnet(owner: &Ownership, containers: usize, attempt: u32) -> String {
    // In addition there are the network's own address, the gateway's and the broadcast address.
    let needed = u32::try_from(containers + 4).unwrap_or(u32::MAX).clamp(16, 256).next_power_of_two();
    let digest = Sha256Digest::of(owner.id.to_string().as_bytes());
    let random = u32::from_be_bytes(*digest.as_bytes().first_chunk().unwrap_or(&[0; 4]));
    let place = random.wrapping_add(attempt.wrapping_mul(0x9E37_79B9)) % ((1 << 17) / needed);
    let start = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + place * needed);
    format!("{start}/{}", 32 - needed.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::OsEntropy;

    use super::*;
    use crate::ownership::{MachineKey, RehearsalId};

    #[test]
    fn a_network_has_few_addresses_and_lies_in_the_range_for_tests() {
        let key = MachineKey::random(&OsEntropy);
        for (containers, bits) in [(1, 28), (12, 28), (13, 27), (28, 27), (29, 26), (64, 25), (1000, 24)] {
            let owner =
                Ownership::new(RehearsalId::random(&OsEntropy), jiff::Timestamp::UNIX_EPOCH, key.clone());
            let tried: Vec<String> = (0..SUBNETS_TRIED).map(|n| subnet(&owner, containers, n)).collect();
            for subnet in &tried {
                let (start, length) = subnet.split_once('/').unwrap();
                let start = u32::from(start.parse::<Ipv4Addr>().unwrap());
                assert_eq!(length, bits.to_string(), "{containers}");
                assert_eq!(start % (1 << (32 - bits)), 0, "{subnet}");
                assert_eq!(start >> 17, u32::from(Ipv4Addr::new(198, 18, 0, 0)) >> 17, "{subnet}");
            }
            assert_ne!(tried[0], tried[1]);
        }
    }
}
