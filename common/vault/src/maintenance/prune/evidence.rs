//! Evidence from packs about the places that are claimed in them: their trailers, and the hashes of their bytes.

use futures::{StreamExt, TryStreamExt};
use lifeboat_core::Sha256Digest;
use lifeboat_core::progress::{Progress, Unit};

use super::homes::{Claims, Known};
use crate::error::{ObjectError, VaultError};
use crate::format::index::FramePlace;
use crate::ids::FrameName;
use crate::keys::GroupView;
use crate::repository::open::Repository;

/// How many requests run at once.
const READS: usize = 8;
/// The most bytes of neighbouring frames that one request reads.
const MAX_READ: u64 = 16 << 20;

/// Reads the trailers of packs, which come with their sizes, and adds them to the claims. Returns whether a trailer
/// lists a needed frame that no other claim places there, and which trailers cannot be read.
pub(super) async fn hear_trailers(
    repository: &Repository,
    group: &GroupView,
    claims: &mut Claims,
    known: &Known<'_>,
    packs: Vec<(Sha256Digest, u64)>,
) -> Result<(bool, Vec<ObjectError>), VaultError> {
    let (mut is_news, mut unread) = (false, Vec::new());
    let read = |(pack, size)| async move { (pack, size, repository.pack_trailer(group, &pack, size).await) };
    let mut trailers = std::pin::pin!(futures::stream::iter(packs).map(read).buffer_unordered(READS));
    while let Some((pack, size, trailer)) = trailers.next().await {
        match trailer? {
            Ok(frames) => is_news |= claims.hear((&pack, size), &frames, known),
            Err(error) => {
                claims.leave_open(&pack);
                unread.push(error);
            }
        }
    }
    Ok((is_news, unread))
}

/// Reads and hashes places, which come in their order in the packs. Returns those whose bytes are not the frame.
pub(super) async fn disproved(
    repository: &Repository,
    group: &GroupView,
    places: &[(FrameName, FramePlace)],
    progress: &dyn Progress,
) -> Result<Vec<(FrameName, FramePlace)>, VaultError> {
    let total = places.iter().map(|(_, place)| u64::from(place.frame.length)).sum();
    progress.phase("reading what is to stay", Unit::Bytes, Some(total));
    let check = |read: Vec<(FrameName, FramePlace)>| async move {
        let found = unlike(repository, group, &read).await;
        progress.advance(read.iter().map(|(_, place)| u64::from(place.frame.length)).sum());
        found
    };
    let found: Vec<Vec<_>> = futures::stream::iter(requests(places))
        .map(check)
        .buffer_unordered(READS.min(4))
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// Merges neighbouring places of a pack, up to the size of one request.
fn requests(places: &[(FrameName, FramePlace)]) -> Vec<Vec<(FrameName, FramePlace)>> {
    let mut requests: Vec<Vec<(FrameName, FramePlace)>> = Vec::new();
    for (name, place) in places {
        let end = place.frame.offset.saturating_add(place.frame.length.into());
        let joins = |request: &&mut Vec<(FrameName, FramePlace)>| {
            let (Some((_, first)), Some((_, last))) = (request.first(), request.last()) else { return false };
            let last_end = last.frame.offset.saturating_add(last.frame.length.into());
            last.pack == place.pack && last_end == place.frame.offset && end - first.frame.offset <= MAX_READ
        };
        match requests.last_mut().filter(joins) {
            Some(request) => request.push((*name, *place)),
            None => requests.push(vec![(*name, *place)]),
        }
    }
    requests
}

/// Those of the neighbouring places whose bytes are not the frame.
async fn unlike(
    repository: &Repository,
    group: &GroupView,
    places: &[(FrameName, FramePlace)],
) -> Result<Vec<(FrameName, FramePlace)>, VaultError> {
    let (Some((_, first)), Some((_, last))) = (places.first(), places.last()) else { return Ok(Vec::new()) };
    let start = first.frame.offset;
    let end = last.frame.offset.saturating_add(last.frame.length.into());
    let bytes = repository.pack_range(group.id, &first.pack, start..end).await?;
    // It is shorter than it was listed, or gone: no frame is stored there.
    let Ok(bytes) = bytes else { return Ok(places.to_vec()) };
    let is_unlike = |(_, place): &&(FrameName, FramePlace)| {
        let at = usize::try_from(place.frame.offset - start).unwrap_or(usize::MAX);
        let sealed = bytes.get(at..at.saturating_add(place.frame.length as usize));
        sealed.is_none_or(|sealed| place.check(sealed).is_err())
    };
    Ok(places.iter().filter(is_unlike).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::index::FrameLocation;
    use crate::ids::RunId;

    #[test]
    fn neighbours_are_read_together_up_to_a_limit() {
        let place = |pack: &str, ordinal, offset, length| {
            let pack = Sha256Digest::of(pack.as_bytes());
            let hash = Sha256Digest::of(b"frame");
            let frame = FrameLocation { ordinal, offset, length, hash, chunk_bytes: 0 };
            (RunId::from_bytes([1; 16]).frame(ordinal), FramePlace { pack, size: 1 << 30, frame })
        };
        let mib = 1 << 20;
        let places = [
            place("a", 0, 100, mib),
            place("a", 1, 100 + u64::from(mib), mib),
            place("a", 2, 200 + 2 * u64::from(mib), 15 * mib),
            place("a", 3, 200 + 17 * u64::from(mib), 2 * mib),
            place("b", 4, 200 + 19 * u64::from(mib), mib),
        ];
        let lengths: Vec<usize> = requests(&places).iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1, 1, 1]);
    }
}
