"""The reproduction's prose; every number in it is of the deck or of the protocol."""

TEXT = {
    "lead": "Every system that Żelaszczyk's slides of January 2020 name, trained and scored by "
    "`synesthete reproduce` on {source} ({recordings} test recordings, {pairs:,} test pairs) and "
    "MNIST, beside the deck's own figures. {done} of {all} systems are done.",
    "quick": "A quick look: every system for a fraction of its steps. **These are not the "
    "project's numbers**; `synesthete reproduce` without `--quick` makes them. Data: {source}, "
    "{recordings} test recordings, {pairs:,} test pairs. {done} of {all} systems are done.",
    "glance": "Agreement is the share of test pairs whose drawing LeNet5 reads as the digit that "
    "was said. Intervals resample test recordings, each averaged over the seeds first, for the "
    "10,000 pairs hold only 200 recordings. Seconds are a run's own, on so many threads, beside "
    "whatever else the machine did.",
    "judge": "Trained on the first 50,000 MNIST train images only; scored on the 10,000 test "
    "images. Layers as in the deck's table: input 28×28 padded to 32×32, conv 5×5 to 6 channels, "
    "max pool, conv 5×5 to 16, max pool, conv 5×5 to 120, FC 84, FC 10. The slide's \"Conv 1x1, "
    '6, str=5" is read as 1 to 6 channels, kernel 5: nothing else fits its 32×32 input.',
    "images": "The deck introduces its generative models on images alone. None of these hears "
    "anything. FLD is the Fréchet distance to the test images in LeNet5's 84 features.",
    "vae": "The deck's VAE (20,950,529 parameters) by its own recipe, pairs, and by grouped "
    "targets: each recording against the mean of its images, the same objective without its "
    "sampling noise. The autoencoder has the VAE's layers without sampling; `archetype` is our "
    "small, fast one. All draw archetypes: the mean image is what their loss asks for.",
    "readings": "The deck names neither the reconstruction loss nor its reduction nor how weights "
    "are initialised, and its table puts a ReLU on μ and σ if read literally. Each reading with "
    "grouped targets, one seed, half as long as `vae-grouped`: `vae-plain` has its plain heads, "
    "cross-entropy summed over pixels, KL summed over the latent, weights after He et al. 2015. "
    "`vae-pairs-torch` is the deck's own recipe from PyTorch's default weights, 2.4 times smaller.",
    "gan": "The VAE-GAN without its reconstruction loss (α = 0): an encoder whose code goes to the "
    "decoder, and a discriminator that sees images alone. Nothing ties an image to its sound, "
    "which is the deck's negative result: images like those of the training set that do not "
    "correspond to the audio. The KL divergence stays (β = 0.5): without it nothing bounds the "
    "posterior, whose variance then grows until the images fall apart. `gan-saturating` minimises "
    "log(1 - D), as the minimax game is written: against a discriminator that is winning it has "
    "next to no gradient, and the generator stays where it began.",
    "vae-gan": "The deck's 7,909,382 parameters. Its kernels hold 7,902,208; of the other 7,174, "
    "six must be the biases and batch norms of the two one-channel outputs, since every other "
    "layer's channels are multiples of 64. Taken here: encoder without biases, batch norm on its "
    "three hidden layers; decoder and discriminator with biases and batch norm on every layer, "
    "outputs included, then a sigmoid. Two other assignments fit (one bias more in the encoder's "
    "hidden layers, one less in the decoder's or the discriminator's). Batch norm on the "
    "discriminator's output means that it must learn on real and drawn images together: apart, "
    "both would come out with the same mean. The decoder is judged by its running averages.",
    "tradeoff": 'The deck: "relatively high values of α result in images similar to the ones '
    'observed for the VAE setup". Measured, one seed a value, the same number of steps for each; '
    "`vae-gan` in the second picture is α = 0.2 trained longer.",
    "correspondence": "Do this sound and this image belong together? Negatives are drawn off the "
    "graph, so one in ten shows the same digit and cannot be told from a positive; the ceiling is "
    "what knowing every digit would score on the very pairs drawn. Trained and tested on shuffled "
    "pairs, nothing is left to learn: 50% means that there is no shortcut.",
    "retrieval": "Relevant is what shows (or says) the same digit; a query is not its own find.",
    "similarity": "The deck's motivation: representations might be similar across modalities. "
    "Linear CKA (Kornblith et al. 2019) over {pairs:,} matching test pairs, of each block's "
    "output averaged over its picture and of the embedding, against an untrained network and one "
    "that was trained on shuffled pairs.",
    "commands": "Three seeds (0, 1, 2) where a run takes minutes, one where it takes long. "
    "DIR holds shuffled pairs, made by `synesthete pairs mix --shuffled --out DIR`.",
}

SCALES = (
    "Scales, which the deck leaves open and without which α means nothing: the adversarial "
    "loss is averaged over images; the reconstruction loss is the squared error, summed "
    "over an image's pixels, averaged over images; the KL divergence is averaged over the 64 "
    "latents and over images. β = 0.5, Adam with learning rate 2e-4 and β₁ = 0.5, batch 128, "
    "LeakyReLU(0.2), -log D for the generator. Not in the deck, whose 46,875 steps are more "
    "patient than ours: the discriminator sees every image through Gaussian noise of standard "
    "deviation 0.3 (instance noise, Sønderby et al. 2017), for MNIST's backgrounds are "
    "exactly 0 and no sigmoid is, and sounds are shifted and stretched a little. A batch "
    "holds 8 recordings with 16 images each, and the reconstruction loss compares **the mean "
    "of a recording's drawings with the mean of its images**. With one image a recording, "
    "that is the deck's RL(G(z), x). With 16 it teaches the same mean image, but asks 16 "
    "times less that the drawings of one recording be alike, which no alignment of a "
    "recording with many images says. `vae-gan-images` compares each drawing with that mean, "
    "`vae-gan-naive` takes a recording an image, `vae-gan-bernoulli` the cross-entropy: all "
    "at α = 0.2, as long as the sweep."
)
