"""Sort the images of an index into groups of similar ones."""

from __future__ import annotations

import numpy as np

from tf_simclr.cli import flags
from tf_simclr.cli.index_results import INDEX, RESULT, IndexResult, Results
from tf_simclr.cli.main import say
from tf_simclr.config import ClusterConfig
from tf_simclr.index.clusters import find_clusters
from tf_simclr.index.page import Section

USAGE = """usage: python -m tf_simclr cluster --index=INDEX [flags]

Divides the images by k-means on features of length 1. The table has the cluster of every image and its distance from
the centre; cluster 0 is the largest. The page has the 24 images of each cluster that are nearest to its centre."""
CLUSTERS = flags.Group(ClusterConfig)
FLAG_GROUPS = (INDEX, CLUSTERS, RESULT)
HEADINGS = ("cluster", "row", "path", "class", "distance")
_OF_A_CLUSTER, _CLUSTERS_OF_A_PAGE = 24, 100


def main(parsed: flags.ParsedFlags) -> IndexResult:
    """Runs the task."""
    wanted: ClusterConfig = CLUSTERS.build(parsed.values)
    wanted.validate()
    results = Results(parsed, "cluster")
    index = results.index
    found = find_clusters(index, wanted.clusters, wanted.seed)
    if found.tried:
        shown = ", ".join(f"{count}: {value:.3f}" for count, value in found.tried.items())
        say(f"silhouette coefficients by number of clusters: {shown}")
    sizes = np.bincount(found.labels).tolist()
    say(f"{found.number} clusters of {min(sizes):,} to {max(sizes):,} images")
    order = np.lexsort((found.distances, found.labels)).tolist()
    lines = [
        (int(found.labels[row]), row, results.name(row), index.rows[row].label, round(float(found.distances[row]), 6))
        for row in order
    ]
    sections = [
        Section(
            f"Cluster {number}: {sizes[number]:,} images",
            [results.tile(row) for row in _nearest_to_centre(found.labels, found.distances, number)],
        )
        for number in range(min(found.number, _CLUSTERS_OF_A_PAGE))
    ]
    return results.write(HEADINGS, lines, f"{found.number} clusters", sections)


def _nearest_to_centre(labels: np.ndarray, distances: np.ndarray, cluster: int) -> list[int]:
    members = np.flatnonzero(labels == cluster)
    return members[np.argsort(distances[members], kind="stable")][:_OF_A_CLUSTER].tolist()
