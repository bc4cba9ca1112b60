"""Classification of equal-length, regularly indexed flux series: features, network, study."""
